-- Frees an Idempotency-Key, unless another submission has taken it over.
-- KEYS[1] = the key
-- ARGV[1] = what it holds if it is still the caller's
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end

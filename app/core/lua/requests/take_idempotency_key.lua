-- Takes an Idempotency-Key that is free.
-- KEYS[1] = the key
-- ARGV[1] = what it is to hold
-- ARGV[2] = when it expires, in Unix seconds
-- Returns what it holds already, or false.
local held = redis.call('GET', KEYS[1])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2]) end
return held

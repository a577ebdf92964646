-- Adds to a budget, once for each name: redis-py repeats a call whose answer was lost.
-- KEYS[1] = balances (hash)
-- ARGV[1] = id of the API key
-- ARGV[2] = amount
-- ARGV[3] = name of this top-up
-- Returns the new balance; false for a key without a budget.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return false end
if not redis.call('SET', top_up_key(ARGV[3]), '1', 'NX', 'EX', 3600) then
  return redis.call('HGET', KEYS[1], ARGV[1])
end
return redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])

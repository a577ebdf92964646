-- Writes down how an attempt ended. What is over stays over, whatever a late attempt reports.
-- KEYS[1] = the delivery (hash)
-- KEYS[2] = its attempts (list)
-- KEYS[3] = pending deliveries by their next attempt (sorted set)
-- ARGV[1] = request id
-- ARGV[2] = seconds that a delivery is kept
-- ARGV[3] = attempt as JSON
-- ARGV[4] = state of the delivery after it (pending: try again)
-- ARGV[5] = time of the next attempt
-- ARGV[6] = place of the attempt in the log
-- Returns 1; 0 when the delivery has expired.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
if redis.call('LINDEX', KEYS[2], ARGV[6] - 1) == ARGV[3] then return 1 end  -- repeated call
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[6]) then
  redis.call('LSET', KEYS[2], ARGV[6] - 1, ARGV[3])
end
if redis.call('HGET', KEYS[1], 'state') == 'pending' then
  redis.call('HSET', KEYS[1], 'state', ARGV[4])
  if ARGV[4] == 'pending' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
  else redis.call('ZREM', KEYS[3], ARGV[1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1

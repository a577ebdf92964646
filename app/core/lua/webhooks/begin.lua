-- Writes an attempt down before it is made, and renews the lease.
-- KEYS[1] = the delivery (hash)
-- KEYS[2] = its attempts (list)
-- KEYS[3] = pending deliveries by their next attempt (sorted set)
-- ARGV[1] = request id
-- ARGV[2] = seconds that a delivery is kept
-- ARGV[3] = attempt as JSON
-- ARGV[4] = end of the lease, in Unix seconds
-- Returns the place of the attempt in the log, from 1 on; 0 when the delivery is over or has expired.
if redis.call('HGET', KEYS[1], 'state') ~= 'pending' then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
-- The client library asks twice when the first answer was lost.
if redis.call('LINDEX', KEYS[2], -1) ~= ARGV[3] then redis.call('RPUSH', KEYS[2], ARGV[3]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return redis.call('LLEN', KEYS[2])

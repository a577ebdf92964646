-- Makes a delivery, once.
-- KEYS[1] = the delivery (hash)
-- KEYS[2] = its attempts (list)
-- KEYS[3] = pending deliveries by their next attempt (sorted set)
-- ARGV[1] = request id
-- ARGV[2] = seconds that a delivery is kept
-- ARGV[3] = now, in Unix seconds
-- ARGV[4..] = field, value, ...
-- Returns 1; 0 when there is one already.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'pending', unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 1

-- Counts uploads for their owner: all of them, or none when the quota does not allow all.
-- KEYS[1] = the owner's uploads by expiry (sorted set)
-- KEYS[2] = their sizes (hash; `total` is the sum of those in KEYS[1])
-- ARGV[1] = now, in Unix seconds
-- ARGV[2] = when they expire
-- ARGV[3] = quota
-- ARGV[4..] = digest, size, ...
-- Returns -1, or the bytes that the owner would have.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do
  redis.call('HINCRBY', KEYS[2], 'total', -tonumber(redis.call('HGET', KEYS[2], gone)))
  redis.call('HDEL', KEYS[2], gone)
  redis.call('ZREM', KEYS[1], gone)
end
local total = tonumber(redis.call('HGET', KEYS[2], 'total') or '0')
for i = 4, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then total = total + tonumber(ARGV[i + 1]) end
end
if total > tonumber(ARGV[3]) then return total end
for i = 4, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[2], 'total', total)
redis.call('EXPIREAT', KEYS[1], ARGV[2])
redis.call('EXPIREAT', KEYS[2], ARGV[2])
return -1

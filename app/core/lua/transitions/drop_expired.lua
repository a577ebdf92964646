-- needs: counters usage
-- Counts requests whose records expired before they ended.
-- KEYS[1] = the ids of the requests that have not ended (sorted set)
-- KEYS[2] = the counters (hash)
-- ARGV[1] = now, in Unix seconds
-- ARGV[2..] = ids whose records have expired
local gone = 0
for i = 2, #ARGV do
  if redis.call('ZREM', KEYS[1], ARGV[i]) == 1 then
    gone = gone + 1
    use_expired(ARGV[1], ARGV[i])
  end
end
if gone > 0 then count(gone, ENDED, EXPIRED, '') end

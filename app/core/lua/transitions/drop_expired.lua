-- needs: counters
-- Counts requests whose records expired before they ended.
-- KEYS[1] = the ids of the requests that have not ended (sorted set)
-- KEYS[2] = the counters (hash)
-- ARGV = ids whose records have expired
local gone = 0
for _, id in ipairs(ARGV) do gone = gone + redis.call('ZREM', KEYS[1], id) end
if gone > 0 then count(gone, ENDED, EXPIRED, '') end

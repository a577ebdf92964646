-- Counts the bytes of a request's pictures for its owner, if the quota allows. Recounts all of them
-- at most once a second, because that reads every record.
-- KEYS[1] = the owner's sources (hash: id -> `bytes since`, `total`, `counted_at`)
-- ARGV[1] = now, in Unix seconds
-- ARGV[2] = when the entry expires
-- ARGV[3] = quota
-- ARGV[4] = request id
-- ARGV[5] = bytes
-- ARGV[6] = seconds for which an entry counts although there is no record yet
-- Returns -1, or the bytes that the owner would have.
local key, now, bytes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[5])
if redis.call('HEXISTS', key, ARGV[4]) == 1 then return -1 end  -- asked twice by the library
local function counts(id, since)
  local about = redis.call('HMGET', request_key(id), 'status', 'stage')
  if not about[1] then return now - since < tonumber(ARGV[6]) end
  return about[1] == 'QUEUED' and (about[2] == '0' or about[2] == '1')
end
local function counted()
  local total, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local held, since = string.match(all[i + 1], '^(%d+) (.+)$')
    if held and counts(all[i], tonumber(since)) then total = total + tonumber(held)
    elseif held then redis.call('HDEL', key, all[i]) end
  end
  redis.call('HSET', key, 'total', total, 'counted_at', ARGV[1])
  return total
end
local would_be = tonumber(redis.call('HGET', key, 'total') or 0) + bytes
local counted_at = tonumber(redis.call('HGET', key, 'counted_at') or 0)
if would_be > tonumber(ARGV[3]) and now - counted_at >= 1 then would_be = counted() + bytes end
if would_be > tonumber(ARGV[3]) then return would_be end
redis.call('HSET', key, ARGV[4], ARGV[5] .. ' ' .. ARGV[1], 'total', would_be)
redis.call('EXPIREAT', key, ARGV[2])
return -1

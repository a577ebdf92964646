-- The API key and the record of several calls. A Redis without memory refuses the note of the use,
-- not the reading.
-- KEYS[1] = all API keys (hash)
-- KEYS[2] = when they were used (hash)
-- KEYS[3] = the ids of the requests that have not ended (sorted set)
-- KEYS[i + 3] = the record of call i
-- ARGV[1] = now, in Unix seconds
-- ARGV[2i] = digest of the secret of call i
-- ARGV[2i + 1] = the key id under which its use is noted, or ''
-- Returns for each call key and record as JSON, then how many requests have not ended.
local found = {}
for i = 1, #KEYS - 3 do
  local key = redis.call('HGET', KEYS[1], ARGV[2 * i])
  found[i] = cjson.encode({key, redis.call('HGETALL', KEYS[i + 3])})
  if key and ARGV[2 * i + 1] ~= '' then
    redis.pcall('HSET', KEYS[2], ARGV[2 * i + 1], ARGV[1])
  end
end
found[#KEYS - 2] = redis.call('ZCARD', KEYS[3])
return found

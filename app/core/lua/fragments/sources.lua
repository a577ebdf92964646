-- The bytes of a picture no longer count for its owner (app/core/requests/sources.py).
local function release_source(owner, id)
  local key = sources_key(owner)
  local entry = redis.call('HGET', key, id)
  if not entry then return end
  redis.call('HDEL', key, id)
  local bytes = tonumber(string.match(entry, '^%d+'))
  local total = redis.call('HINCRBY', key, 'total', 0 - bytes)  -- Redis does not know -0
  if total <= 0 then redis.call('DEL', key) end
end

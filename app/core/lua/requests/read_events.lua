-- The events of several requests.
-- KEYS[i] = an event stream
-- ARGV[i] = the event id after which to read it
-- Returns for each stream its events as JSON.
local found = {}
for i, stream in ipairs(KEYS) do
  found[i] = cjson.encode(redis.call('XRANGE', stream, '(' .. ARGV[i], '+'))
end
return found

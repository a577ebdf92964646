-- needs: outputs
-- Drops the entries of expired files; selects the requests whose files are to be removed, so that
-- the others fit into the quota: the oldest first, and none whose record still lives.
-- ARGV[1] = now, in Unix seconds
-- ARGV[2] = quota
-- ARGV[3] = the most entries to drop, and to return
-- Returns their ids. They stay counted until drop_outputs, so a crash in between loses nothing.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OUTPUT_EXPIRIES, '-inf', ARGV[1],
                               'LIMIT', 0, ARGV[3])) do
  drop_outputs(id)
end
local total = tonumber(redis.call('HGET', OUTPUT_BYTES, 'total') or '0')
local selected = {}
if total <= tonumber(ARGV[2]) then return selected end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OUTPUT_RECORD_EXPIRIES, '-inf', ARGV[1],
                               'LIMIT', 0, ARGV[3])) do
  if total <= tonumber(ARGV[2]) then break end
  total = total - tonumber(redis.call('HGET', OUTPUT_BYTES, id))
  selected[#selected + 1] = id
end
return selected

-- Claims deliveries that are due. Owners take turns, each with its oldest: an owner whose receivers
-- do not answer would keep all others waiting.
-- KEYS[1] = pending deliveries by their next attempt (sorted set)
-- ARGV[1] = now, in Unix seconds
-- ARGV[2] = end of the lease
-- ARGV[3] = how many at most
-- Returns their request ids.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 2048)
local of, owners, taken, most = {}, {}, {}, tonumber(ARGV[3])
for _, id in ipairs(due) do
  local owner = redis.call('HGET', delivery_key(id), 'owner') or ''
  if not of[owner] then
    of[owner] = {}
    owners[#owners + 1] = owner
  end
  table.insert(of[owner], id)
end
for round = 1, #due do
  for _, owner in ipairs(owners) do
    local id = of[owner][round]
    if id and #taken < most then
      redis.call('ZADD', KEYS[1], ARGV[2], id)
      taken[#taken + 1] = id
    end
  end
  if #taken >= most then break end
end
return taken

-- needs: turns
-- The requests that wait, in the order in which they will be generated, and those being generated.
-- Writes nothing, so that it works while Redis has no memory.
-- KEYS[1] = the gpu queue
-- KEYS[2] = the ids of the requests that have not ended (sorted set)
-- ARGV[1] = work of a request whose work is not known
-- Returns JSON [[[id, load, profile], ...], [[id, [field, value, ...]], ...]]: what is known of those
-- that wait (false stands for the rest), and the records of the others. A request that is not
-- prepared yet stands where it would be placed now.
local queue, in_list = KEYS[1], {}
local jobs, waiting, working, seen = redis.call('LRANGE', queue, 0, -1), {}, {}, {}
for _, job in ipairs(jobs) do in_list[job] = true end
local from, starts = read_turns(queue, in_list)

local ends = {}
local function start_of(key, work)
  if not ends[key] then ends[key] = read_end_of_last(queue, key, from) end
  local start = ends[key]
  ends[key] = start + (tonumber(work) or tonumber(ARGV[1]))
  return start
end

-- Work, load and profile of a request, before PREPARE as its submission expects them. Work stands for
-- the load in a record of an older version.
local function demand(work, load, profile, expected)
  if expected then expected = cjson.decode(expected) else expected = {} end
  work, profile = work or expected.work or false, profile or expected.profile or false
  return work, load or expected.load or work, profile
end

local at = -math.huge  -- what RQ put back stands before all that take turns
local function look(id, job)
  if seen[id] then return end
  seen[id] = true
  local of = redis.call('HMGET', request_key(id), 'status', 'stage', 'key',
                        'work', 'load', 'profile', 'expected')
  if of[1] == 'QUEUED' or (job and of[1] == 'PROCESSING') then
    local work, load, profile = demand(unpack(of, 4, 7))
    at = job and (starts[job] or at) or start_of(of[3] or '', work)
    waiting[#waiting + 1] = {id, load, profile, at, #waiting}
  elseif of[1] == 'PROCESSING' and of[2] == '2' then
    working[#working + 1] = {id, redis.call('HGETALL', request_key(id))}
  end
end
for _, job in ipairs(jobs) do look(string.match(job, '^%x+') or '', job) end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do look(id) end
table.sort(waiting, function(a, b)
  if a[4] ~= b[4] then return a[4] < b[4] end
  return a[5] < b[5]
end)
for _, row in ipairs(waiting) do row[5], row[4] = nil, nil end
return cjson.encode({waiting, working})

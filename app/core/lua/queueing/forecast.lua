-- needs: turns
-- The requests that wait, in the order in which they will be generated, and those being generated.
-- Writes nothing, so that it works while Redis has no memory.
-- KEYS[1] = the gpu queue
-- KEYS[2] = the ids of the requests that have not ended (sorted set)
-- ARGV[1] = work of a request whose work is not known yet
-- Returns JSON [[[id, work, profile], ...], [[id, work, profile, step, steps], ...]]; false stands for
-- what is not known. A request that is not prepared yet stands where it would be placed now.
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

local at = -math.huge  -- what RQ put back stands before all that take turns
local function look(id, job)
  if seen[id] then return end
  seen[id] = true
  local of = redis.call('HMGET', request_key(id),
                        'status', 'stage', 'work', 'profile', 'step', 'steps', 'key')
  if of[1] == 'QUEUED' or (job and of[1] == 'PROCESSING') then
    at = job and (starts[job] or at) or start_of(of[7] or '', of[3])
    waiting[#waiting + 1] = {id, of[3], of[4], at, #waiting}
  elseif of[1] == 'PROCESSING' and of[2] == '2' then
    working[#working + 1] = {id, of[3], of[4], of[5], of[6]}
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

-- Takes the first job whose API key runs fewest, and less than half of what all workers can run.
-- KEYS[1] = waiting jobs (list)
-- KEYS[2] = jobs taken but not started (list)
-- KEYS[3] = started jobs (sorted set of JOB:EXECUTION)
-- KEYS[4] = the workers (set)
-- KEYS[5] = a list of later jobs that count as well, or a key that does not exist
-- ARGV[1] = the oldest heartbeat of a live worker
-- ARGV[2] = jobs that one worker runs at a time
-- ARGV[3] = a job in KEYS[2] that is put back to the head of KEYS[1] first, or ''
-- Moves the job to KEYS[2] and returns its id; 'BUSY' when jobs wait and none may be taken; nil when
-- none waits.
local NEAR = 1024
local function request_of(job) return string.match(job, '^(.*)%-[^-]*$') or job end
local function key_of(request) return redis.call('HGET', request_key(request), 'key') or '' end

if ARGV[3] ~= '' and redis.call('LREM', KEYS[2], 1, ARGV[3]) == 1 then
  redis.call('LPUSH', KEYS[1], ARGV[3])
end
local waiting = redis.call('LRANGE', KEYS[1], 0, NEAR - 1)
if #waiting == 0 then return nil end

local running, seen = {}, {}
local function count(job)
  local request = request_of(job)
  if seen[request] then return end
  seen[request] = true
  local key = key_of(request)
  running[key] = (running[key] or 0) + 1
end
for _, job in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do count(job) end
for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  count(string.match(member, '^(.*):[^:]*$') or member)
end

for _, job in ipairs(redis.call('LRANGE', KEYS[5], 0, NEAR - 1)) do count(job) end

local workers = 0
for _, worker in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local heartbeat = redis.call('HGET', worker, 'last_heartbeat')
  if heartbeat and heartbeat > ARGV[1] then workers = workers + 1 end
end
local bound = math.max(1, math.floor(workers * tonumber(ARGV[2]) / 2))

local best, fewest = nil, bound
for _, job in ipairs(waiting) do
  local mine = running[key_of(request_of(job))] or 0
  if mine < fewest then best, fewest = job, mine end
  if fewest == 0 then break end
end
if not best then return 'BUSY' end
redis.call('LREM', KEYS[1], 1, best)
redis.call('RPUSH', KEYS[2], best)
return best

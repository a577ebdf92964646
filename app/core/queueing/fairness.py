"""Whose job is next: the order of jobs on a queue, and how many requests of a key are in flight.

Owns two fragments of Lua for the scripts that queue a job (app.core.queueing.jobs) or end a request
(app.core.requests.scripts), so that no process can die between the one and the other. Knows no job
function.

**Turns.** A queue is RQ's own list, and every waiting job is in it; only its place is ours. Jobs
stand in the order of their *starts* (start-time fair queueing): a job starts where its key's last
one ends, and no earlier than the job that was taken last; it ends its cost later. So keys with jobs
waiting take turns, in proportion to what their jobs cost, and the first job of another key stands
right behind what is running. The stored starts are advice: a job without
one (it was put back after a crash) keeps the place that RQ gave it. The next script that finds a
start whose job has left the list removes it. Finished pictures have a queue of their own and take
no turns.

**Flights.** A request of a key with a bound waits beside the queue while as many of that key's
are unfinished: its job exists, but is in no list. What counts is the records, not a counter, so a
request that expired or was lost frees its place by itself.
"""

from __future__ import annotations

FETCH_LIST = "rq:queue:fetch"
CPU_LIST = "rq:queue:cpu"
"""RQ's lists of the two queues in which a request that was held enters."""

HELD = "held"
"""Set in Redis: ids of the keys that have requests waiting beside the queue; the requests of a key
are in the list `held:KEY`, oldest first."""

TURNS = """
local NEAR = 1024  -- the job that is next has at most so many before it that have no start
local function turns(queue) return 'turns:' .. queue end

-- The start of the job that was taken last: the greatest of those that have left the list.
local function start_of_taken(queue, ttl)
  local starts, taken = turns(queue), turns(queue) .. ':taken'
  local latest = nil
  while true do
    local first = redis.call('ZRANGE', starts, 0, 0, 'WITHSCORES')
    if not first[1] or redis.call('LPOS', queue, first[1], 'MAXLEN', NEAR) then break end
    latest = first[2]
    redis.call('ZREM', starts, first[1])
  end
  if latest then redis.call('SET', taken, latest, 'EX', ttl) end
  return tonumber(latest or redis.call('GET', taken) or 0)
end

-- Where the last job of a key ends, and not before `from`. One that FAILED took no turn: it may
-- have been cancelled while it waited.
local function end_of_last(ends, from)
  redis.call('ZREMRANGEBYSCORE', ends, '-inf', from)
  while true do
    local last = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')
    if not last[1] then return from end
    local status = redis.call('HGET', 'req:' .. string.match(last[1], '^(.*)%-'), 'status')
    if status and status ~= 'FAILED' then return tonumber(last[2]) end
    redis.call('ZREM', ends, last[1])
  end
end

-- Puts a job into the list at its turn. ttl: seconds after which its start is of no interest.
local function place(queue, job, key, cost, ttl)
  local starts, ends = turns(queue), turns(queue) .. ':of:' .. key
  local start = end_of_last(ends, start_of_taken(queue, ttl))
  local placed = 0
  while placed < 1 do
    local after = '(' .. string.format('%.17g', start)
    local later = redis.call('ZRANGEBYSCORE', starts, after, '+inf', 'LIMIT', 0, 1)[1]
    if later then
      placed = redis.call('LINSERT', queue, 'BEFORE', later, job)
      if placed < 1 then redis.call('ZREM', starts, later) end
    else
      placed = redis.call('RPUSH', queue, job)
    end
  end
  redis.call('ZADD', starts, start, job)
  redis.call('ZADD', ends, start + cost, job)
  redis.call('EXPIRE', starts, ttl)
  redis.call('EXPIRE', ends, ttl)
end
"""

FLIGHTS = (
    TURNS
    + f"""
local FETCH_LIST, CPU_LIST, HELD = '{FETCH_LIST}', '{CPU_LIST}', '{HELD}'
"""
    + """
local function in_flight(key)
  local unfinished = 0
  for _, id in ipairs(redis.call('SMEMBERS', 'flight:' .. key)) do
    local status = redis.call('HGET', 'req:' .. id, 'status')
    if status == 'QUEUED' or status == 'PROCESSING' then unfinished = unfinished + 1
    else redis.call('SREM', 'flight:' .. key, id) end
  end
  return unfinished
end

-- The list and the name of the job with which a request begins.
local function first_job(id, stage)
  if stage == '0' then return FETCH_LIST, id .. '-fetch' end
  return CPU_LIST, id .. '-prepare'
end

local function take_off(key, id, ttl)
  redis.call('SADD', 'flight:' .. key, id)
  redis.call('EXPIRE', 'flight:' .. key, ttl)
end

-- Lets as many waiting requests of a key go as have room; those that have ended are dropped.
local function release(key)
  local held = 'held:' .. key
  while true do
    local id = redis.call('LINDEX', held, 0)
    if not id then
      redis.call('SREM', HELD, key)
      return
    end
    local about = redis.call('HMGET', 'req:' .. id, 'status', 'concurrency', 'created_at',
                             'expires_at', 'stage')
    if about[1] == 'QUEUED' then
      if in_flight(key) >= tonumber(about[2]) then return end
      local ttl = math.ceil(tonumber(about[4]) - tonumber(about[3]))
      take_off(key, id, ttl)
      local list, job = first_job(id, about[5])
      place(list, job, key, 1, ttl)
    end
    redis.call('LPOP', held)
  end
end

-- Whether a request may enter the queue now. If not, it waits until release() lets it go.
local function enters(key, id, concurrency, ttl)
  if redis.call('SISMEMBER', 'flight:' .. key, id) == 1 then return true end
  release(key)
  local held = 'held:' .. key
  if redis.call('EXISTS', held) == 0 and in_flight(key) < tonumber(concurrency) then
    take_off(key, id, ttl)
    return true
  end
  redis.call('RPUSH', held, id)
  redis.call('EXPIRE', held, ttl)
  redis.call('SADD', HELD, key)
  return false
end

-- After the request of a record has ended: whoever waited for its place goes.
local function make_room(record, id)
  local about = redis.call('HMGET', record, 'key', 'concurrency')
  if about[2] then
    redis.call('LREM', 'held:' .. about[1], 1, id)
    release(about[1])
  end
end
"""
)

QUEUE_ONCE = (
    FLIGHTS
    + """
-- KEYS = RQ's hash of the job, RQ's list, the request's record, RQ's set of queues.
-- ARGV[1] = job id, ARGV[2] = request id, ARGV[3] = 'last' (in the order of arrival), 'turn' or
-- 'enter' (a turn, once the key has room), ARGV[4] = seconds to live, ARGV[5..] = field, value, ...
-- A job that exists is not queued again: returns 1 or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SADD', KEYS[4], KEYS[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[4])
if ARGV[3] == 'last' then
  redis.call('RPUSH', KEYS[2], ARGV[1])
  return 1
end
local about = redis.call('HMGET', KEYS[3], 'key', 'work', 'concurrency')
local key = about[1] or ''
if ARGV[3] == 'enter' and about[3] and not enters(key, ARGV[2], about[3], ARGV[4]) then
  return 1
end
local cost = tonumber(about[2])
if not cost or cost <= 0 then cost = 1 end  -- a control map alone has no work, but takes a turn
place(KEYS[2], ARGV[1], key, cost, ARGV[4])
return 1
"""
)

RELEASE_ALL = (
    FLIGHTS
    + """
for _, key in ipairs(redis.call('SMEMBERS', HELD)) do release(key) end
"""
)

ALL_HELD = (
    FLIGHTS
    + """
local jobs = {}
for _, key in ipairs(redis.call('SMEMBERS', HELD)) do
  for _, id in ipairs(redis.call('LRANGE', 'held:' .. key, 0, -1)) do
    local _, job = first_job(id, redis.call('HGET', 'req:' .. id, 'stage'))
    jobs[#jobs + 1] = job
  end
end
return jobs
"""
)
"""The names of the jobs that wait beside the queues."""

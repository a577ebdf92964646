-- The order of jobs on a queue: start-time fair queueing between API keys.
--
-- A queue is RQ's own list, and every waiting job is in it; only its place is ours. Jobs stand in
-- the order of their starts. A job starts where the last job of its key ends, and not before the job
-- that was taken last; it ends its cost later. So keys with waiting jobs take turns, in proportion to
-- what their jobs cost, and the first job of another key stands right behind what is running. The
-- starts are advice: a job without one (it was put back after a crash) keeps the place that RQ gave
-- it. The next script that finds a start whose job has left the list removes it.
--
-- This file alone knows the layout: a sorted set of starts, the start that was taken last, and for
-- each API key a sorted set of ends.

local NEAR = 1024  -- the job that is next has at most so many before it that have no start

-- The start of the job that was taken last: the greatest of those that have left the list.
local function start_of_taken(queue, ttl)
  local starts, taken = turns_key(queue), turn_taken_key(queue)
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

-- The same without a write, given the jobs in the list (job -> true). Returns it, and job -> start.
local function read_turns(queue, in_list)
  local starts, latest = {}, tonumber(redis.call('GET', turn_taken_key(queue)) or 0)
  local all, taken = redis.call('ZRANGE', turns_key(queue), 0, -1, 'WITHSCORES'), true
  for i = 1, #all, 2 do
    starts[all[i]] = tonumber(all[i + 1])
    taken = taken and not in_list[all[i]]
    if taken then latest = math.max(latest, starts[all[i]]) end
  end
  return latest, starts
end

-- Whether a job took its turn. One that FAILED did not: it may have been cancelled while it waited.
local function took_turn(job)
  local status = redis.call('HGET', request_key(string.match(job, '^(.*)%-')), 'status')
  return status and status ~= 'FAILED'
end

-- Where the last job of a key ends, and not before `from`.
local function end_of_last(queue, key, from)
  local ends = turn_ends_key(queue, key)
  redis.call('ZREMRANGEBYSCORE', ends, '-inf', from)
  while true do
    local last = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')
    if not last[1] then return from end
    if took_turn(last[1]) then return tonumber(last[2]) end
    redis.call('ZREM', ends, last[1])
  end
end

-- The same without a write; looks at the last 64 jobs.
local function read_end_of_last(queue, key, from)
  local last = redis.call('ZREVRANGE', turn_ends_key(queue, key), 0, 63, 'WITHSCORES')
  for i = 1, #last, 2 do
    if took_turn(last[i]) then return math.max(from, tonumber(last[i + 1])) end
  end
  return from
end

-- Puts a job into the list at its turn. ttl: seconds after which its start is of no interest.
local function place(queue, job, key, cost, ttl)
  local starts, ends = turns_key(queue), turn_ends_key(queue, key)
  local start = end_of_last(queue, key, start_of_taken(queue, ttl))
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

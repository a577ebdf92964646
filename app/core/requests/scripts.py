"""Lua: every change of a request's state is one of these scripts, so each is atomic.

All take KEYS[1] = the record (hash), KEYS[2] = its events (stream), KEYS[3] = the ids of all
requests that have not ended by the time of their submission (sorted set), KEYS[4] = the outbox
(hash: id -> the record as it ended), the last key = the counters (hash), and ARGV[1] = the time
now in seconds. Invariants, whoever calls in whatever order:

- a record that expired is never written again: no script but SUBMIT creates a key;
- a status moves QUEUED -> PROCESSING -> COMPLETED | FAILED and never back, and a terminal status
  is written once;
- between CLAIM and the end of a stage only the execution that claimed last can write: a worker
  that was stalled, lost its job and wakes up late gets 0 and changes nothing;
- progress only grows: a step that was reported is neither taken back nor reported again;
- every key of a request expires when its record does;
- the picture of a request counts for its owner until ADVANCE or FAIL
  (app/core/requests/sources.py);
- what SUBMIT reserved of a budget is spent by COMPLETE or given back by FAIL and FORGET, once;
- a record is in KEYS[3] from SUBMIT to its end; one that expired is taken out by whoever notices;
- what happens to a request is counted in the call that makes it happen;
- who ends is in the outbox by the same call, whole, and leaves it only when all have been told.
"""

from __future__ import annotations

from app.core.accounts.credits import LEDGER
from app.core.queueing.fairness import FLIGHTS
from app.core.requests.sources import RELEASE_SOURCE
from app.core.telemetry.counters import ENDED, ETA_ERROR, EXPIRED, LUA, STAGE, STEPS

NEWS = "requests:news"
"""Channel on which the id of a request is told whenever its events have grown."""

_TAIL = (
    LUA
    + f"""
local function id() return string.sub(KEYS[1], 5) end  -- without req:
local function event(name, ...)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 500, '*', 'event', name, ...)
  redis.call('EXPIREAT', KEYS[2], redis.call('HGET', KEYS[1], 'expires_at'))
  redis.call('PUBLISH', '{NEWS}', id())
end
local function outbox()
  redis.call('HSET', KEYS[4], id(), cjson.encode(redis.call('HGETALL', KEYS[1])))
end
local function status() return redis.call('HGET', KEYS[1], 'status') end
local function ended(s) return s == 'COMPLETED' or s == 'FAILED' end
local function mine(execution)
  return not ended(status()) and redis.call('HGET', KEYS[1], 'execution') == execution
end
-- Clocks of hosts differ a little: nothing takes less than no time.
local function took(stage, since)
  local began = tonumber(redis.call('HGET', KEYS[1], since))
  if began then observe(math.max(0, tonumber(ARGV[1]) - began), '{STAGE}', stage) end
end
local function count_end(outcome, reason)
  if reason == 'Cancelled' then outcome = 'cancelled' end
  if reason == 'Expired' then outcome = '{EXPIRED}' end
  count(1, '{ENDED}', outcome, reason)
  if outcome == 'completed' then
    took('finish', 'claimed_at')
    took('total', 'created_at')
    local predicted = tonumber(redis.call('HGET', KEYS[1], 'predicted_s'))
    local started = tonumber(redis.call('HGET', KEYS[1], 'started_at'))
    if predicted and started then
      observe(math.abs(tonumber(ARGV[1]) - started - predicted), '{ETA_ERROR}')
    end
  end
end
-- Steps that are made again after a crash are work too, though they are no progress.
local function count_steps(done)
  local before = tonumber(redis.call('HGET', KEYS[1], 'reached')) or 0
  if done > before then count(done - before, '{STEPS}') end  -- a repeated call counts nothing
  redis.call('HSET', KEYS[1], 'reached', done)
end
"""
)

SUBMIT = (
    _TAIL
    + LEDGER
    + """
-- ARGV[2] = expires_at, ARGV[3] = key, ARGV[4] = amount to reserve of its budget,
-- ARGV[5..7] = the idempotency key it is made for ('' for none), what that holds as long as it is
-- the caller's, what it holds from now on, ARGV[8..] = field, value, ...  A record is made once:
-- returns 1 or 0; -1 when the key is somebody else's by now, the balance as text when it is too
-- small, and in both cases nothing is made.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[5] ~= '' and redis.call('GET', ARGV[5]) ~= ARGV[6] then return -1 end
local balance = reserve(id(), ARGV[3], ARGV[4], ARGV[2])
if balance then return balance end
redis.call('HSET', KEYS[1], 'status', 'QUEUED', 'execution', '',
           'created_at', ARGV[1], 'expires_at', ARGV[2], 'key', ARGV[3], unpack(ARGV, 8))
if ARGV[5] ~= '' then redis.call('SET', ARGV[5], ARGV[7], 'EXAT', ARGV[2]) end
redis.call('EXPIREAT', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[1], id())
count(1, 'submitted')
event('queued')
return 1
"""
)

CLAIM = (
    _TAIL
    + """
-- ARGV[2] = stage number, ARGV[3] = execution, ARGV[4] = '1' when this stage is PROCESSING.
-- Returns 'gone', 'ended', 'ahead' (an earlier execution already finished this stage), 'claimed'.
local s = status()
if not s then return 'gone' end
if ended(s) then return 'ended' end
local stage = tonumber(redis.call('HGET', KEYS[1], 'stage'))
if stage > tonumber(ARGV[2]) then return 'ahead' end
redis.call('HSET', KEYS[1], 'execution', ARGV[3], 'claimed_at', ARGV[1])
if ARGV[4] == '1' and s == 'QUEUED' then
  redis.call('HSET', KEYS[1], 'status', 'PROCESSING', 'started_at', ARGV[1])
  took('queue', 'created_at')
  event('started')
end
return 'claimed'
"""
)

CHARGE = (
    _TAIL
    + LEDGER
    + """
-- ARGV[2] = execution, ARGV[3] = what the request costs, now that its size is known. Returns 1 or
-- 0; what could be spent at most, as text, when the budget is too small for it.
if not status() or not mine(ARGV[2]) then return 0 end
local most = reserve_instead(id(), ARGV[3])
if most then return most end
redis.call('HSET', KEYS[1], 'cost', ARGV[3])
return 1
"""
)

ADVANCE = (
    _TAIL
    + RELEASE_SOURCE
    + """
-- ARGV[2] = execution, ARGV[3] = stage number it finished, ARGV[4..] = field, value, ...  Says 1
-- again when asked again: a client library that waited in vain for the answer does.
local s = status()
if not s or ended(s) then return 0 end
local this = ARGV[2] .. ' ' .. ARGV[3]
if redis.call('HGET', KEYS[1], 'advanced') == this then return 1 end
if not mine(ARGV[2]) then return 0 end
release_source(redis.call('HGET', KEYS[1], 'owner'), id())
took(({[0] = 'fetch', 'prepare', 'generate'})[tonumber(ARGV[3])], 'claimed_at')
redis.call('HSET', KEYS[1], 'stage', tonumber(ARGV[3]) + 1, 'execution', '',
           'advanced', this, unpack(ARGV, 4))
return 1
"""
)

PROGRESS = (
    _TAIL
    + """
-- ARGV[2] = execution, ARGV[3] = steps done, ARGV[4] = steps in all, ARGV[5] = a preview or ''.
-- An execution that follows a crash counts from an earlier step. Steps that have been reported
-- before are not reported again, and the total stays the one that was reported first.
if not status() or not mine(ARGV[2]) then return 0 end
local step, steps = tonumber(ARGV[3]), tonumber(ARGV[4])
count_steps(step)
local total = tonumber(redis.call('HGET', KEYS[1], 'steps')) or steps
if total ~= steps then step = math.floor(step * total / steps) end
if step <= (tonumber(redis.call('HGET', KEYS[1], 'step')) or 0) then return 1 end
redis.call('HSET', KEYS[1], 'step', step, 'steps', total)
local fields = {'step', step, 'steps', total}
if ARGV[5] ~= '' then fields[5], fields[6] = 'preview', ARGV[5] end
event('step', unpack(fields))
return 1
"""
)

KEEP = (
    _TAIL
    + """
-- ARGV[2] = execution, ARGV[3] = what a later execution will find of this one's work.
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'kept', ARGV[3])
return 1
"""
)

PACE = "requests:pace"
PACE_LENGTH = 32
"""A list in Redis of when the last requests COMPLETED, latest first, and how many it holds."""

COMPLETE = (
    _TAIL
    + LEDGER
    + FLIGHTS
    + """
-- ARGV[2] = execution, ARGV[3..] = field, value, ...
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[3], id())  -- first, see FAIL
redis.call('HSET', KEYS[1], 'status', 'COMPLETED', 'ended_at', ARGV[1], 'execution', '',
           unpack(ARGV, 3))
local cost = redis.call('HGET', KEYS[1], 'cost')
local balance = cost and spend(id(), redis.call('HGET', KEYS[1], 'key'), cost)
if balance then redis.call('HSET', KEYS[1], 'remaining', balance) end
"""
    + f"""
redis.call('LPUSH', '{PACE}', ARGV[1])
redis.call('LTRIM', '{PACE}', 0, {PACE_LENGTH - 1})
make_room(KEYS[1], id())
count_end('completed', '')
event('completed')
outbox()
return 1
"""
)

FAIL = (
    _TAIL
    + LEDGER
    + FLIGHTS
    + RELEASE_SOURCE
    + """
-- ARGV[2] = execution, or '' for whoever holds it (the supervisor of abandoned jobs),
-- ARGV[3] = '1' to fail it only while QUEUED, ARGV[4] = error text, ARGV[5] = status on v1,
-- ARGV[6] = the error's class, ARGV[7] = the stage to fail it in, or '' for any.
local s = status()
if not s or ended(s) then return 0 end
if ARGV[7] ~= '' and redis.call('HGET', KEYS[1], 'stage') ~= ARGV[7] then return 0 end
if ARGV[2] ~= '' and not mine(ARGV[2]) then return 0 end
if ARGV[3] == '1' and s ~= 'QUEUED' then return 0 end
-- A Redis that is full takes no write that needs room, but for a script that has written already.
-- Ends make room, so they begin with a write that needs none.
redis.call('ZREM', KEYS[3], id())
redis.call('HSET', KEYS[1], 'status', 'FAILED', 'ended_at', ARGV[1], 'execution', '',
           'error', ARGV[4], 'error_status', ARGV[5])
give_back(id())
release_source(redis.call('HGET', KEYS[1], 'owner'), id())
make_room(KEYS[1], id())
count_end('failed', ARGV[6])
event('failed')
outbox()
return 1
"""
)

FORGET = (
    _TAIL
    + LEDGER
    + """
-- As if it had never been submitted.
give_back(id())
redis.call('ZREM', KEYS[3], id())
return redis.call('DEL', KEYS[1], KEYS[2])
"""
)

STRIKE_OFF = (
    LUA
    + f"""
-- KEYS[1] = the ids of the unfinished, ARGV = ids whose records have expired.
local gone = 0
for _, id in ipairs(ARGV) do gone = gone + redis.call('ZREM', KEYS[1], id) end
if gone > 0 then count(gone, '{ENDED}', '{EXPIRED}', '') end
"""
)

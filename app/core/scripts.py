"""Lua: every change of a request's state is one of these scripts, so each is atomic.

All take KEYS[1] = the record (hash), KEYS[2] = its events (stream), KEYS[3] = the ids of all
requests that have not ended by the time of their submission (sorted set), and ARGV[1] = the time
now in seconds. Invariants, whoever calls in whatever order:

- a record that expired is never written again: no script but SUBMIT creates a key;
- a status moves QUEUED -> PROCESSING -> COMPLETED | FAILED and never back, and a terminal status
  is written once;
- between CLAIM and the end of a stage only the execution that claimed last can write: a worker
  that was stalled, lost its job and wakes up late gets 0 and changes nothing;
- every key of a request expires when its record does;
- a record is in KEYS[3] from SUBMIT to its end; one that expired is taken out by whoever notices.
"""

from __future__ import annotations

NEWS = "requests:news"
"""Channel on which the id of a request is told whenever its events have grown."""

_TAIL = f"""
local function id() return string.sub(KEYS[1], 5) end  -- without req:
local function event(name, ...)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 500, '*', 'event', name, ...)
  redis.call('EXPIREAT', KEYS[2], redis.call('HGET', KEYS[1], 'expires_at'))
  redis.call('PUBLISH', '{NEWS}', id())
end
local function status() return redis.call('HGET', KEYS[1], 'status') end
local function ended(s) return s == 'COMPLETED' or s == 'FAILED' end
local function mine(execution)
  return not ended(status()) and redis.call('HGET', KEYS[1], 'execution') == execution
end
"""

SUBMIT = (
    _TAIL
    + """
-- ARGV[2] = expires_at, ARGV[3..] = field, value, ...  A record is made once: returns 1 or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'status', 'QUEUED', 'stage', '1', 'execution', '',
           'created_at', ARGV[1], 'expires_at', ARGV[2], unpack(ARGV, 3))
redis.call('EXPIREAT', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[1], id())
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
redis.call('HSET', KEYS[1], 'execution', ARGV[3])
if ARGV[4] == '1' and s == 'QUEUED' then
  redis.call('HSET', KEYS[1], 'status', 'PROCESSING', 'started_at', ARGV[1])
  event('started')
end
return 'claimed'
"""
)

ADVANCE = (
    _TAIL
    + """
-- ARGV[2] = execution, ARGV[3] = stage number it finished, ARGV[4..] = field, value, ...
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'stage', tonumber(ARGV[3]) + 1, 'execution', '', unpack(ARGV, 4))
return 1
"""
)

PROGRESS = (
    _TAIL
    + """
-- ARGV[2] = execution, ARGV[3] = steps done, ARGV[4] = steps in all.
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'step', ARGV[3], 'steps', ARGV[4])
event('step', 'step', ARGV[3], 'steps', ARGV[4])
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

COMPLETE = (
    _TAIL
    + """
-- ARGV[2] = execution, ARGV[3..] = field, value, ...
if not status() or not mine(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'status', 'COMPLETED', 'ended_at', ARGV[1], 'execution', '',
           unpack(ARGV, 3))
redis.call('ZREM', KEYS[3], id())
event('completed')
return 1
"""
)

FAIL = (
    _TAIL
    + """
-- ARGV[2] = execution, or '' for whoever holds it (the supervisor of abandoned jobs),
-- ARGV[3] = '1' to fail it only while QUEUED, ARGV[4] = error text, ARGV[5] = status on v1.
local s = status()
if not s or ended(s) then return 0 end
if ARGV[2] ~= '' and not mine(ARGV[2]) then return 0 end
if ARGV[3] == '1' and s ~= 'QUEUED' then return 0 end
redis.call('HSET', KEYS[1], 'status', 'FAILED', 'ended_at', ARGV[1], 'execution', '',
           'error', ARGV[4], 'error_status', ARGV[5])
redis.call('ZREM', KEYS[3], id())
event('failed')
return 1
"""
)

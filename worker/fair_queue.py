"""An RQ queue from which no API key can occupy every worker.

RQ takes the job at the head of the list. Here the head gives way to the first job whose key has
fewer jobs running, and a key never runs more than half of what the queue's live workers can run at
the same time (but always one). So whatever the jobs of one key cost, another key's next job finds
a free worker. What counts as running is RQ's own registry of started jobs, read in the call that
takes a job: there is no counter that a crash could leave wrong.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import cast

from redis import Redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry
from rq.utils import now, utcformat

from app.core.queueing.workers import SILENT_S, workers_key

_PREFIX = Queue.redis_queue_namespace_prefix
_BUSY = b"BUSY"
_POLL_S = 0.1
"""How often a free worker looks again while only jobs of keys at their bound wait."""

# KEYS[1] = the list of waiting jobs, KEYS[2] = the list of jobs taken but not started,
# KEYS[3] = the sorted set of started jobs (members JOB:EXECUTION), KEYS[4] = the set of workers,
# KEYS[5] = a list of later jobs that count as well, or a key that does not exist.
# ARGV[1] = the oldest heartbeat of a live worker, ARGV[2] = jobs that one worker runs at a time,
# ARGV[3] = a job in KEYS[2] that is put back to the head of KEYS[1] first, or ''.
# Takes the best job: moves it to KEYS[2] and returns its id. Returns 'BUSY' when jobs wait but none
# may be taken, and nil when none waits.
_TAKE = """
local NEAR = 1024
local function request_of(job) return string.match(job, '^(.*)%-[^-]*$') or job end
local function key_of(request) return redis.call('HGET', 'req:' .. request, 'key') or '' end

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
"""


class FairQueue(Queue):
    slots = 1
    """Jobs that one worker of the queue runs at the same time."""

    downstream = ""
    """A queue whose waiting jobs count as if they ran here: what this queue's jobs leave behind
    takes room until a job there has consumed it."""

    @classmethod
    def lmove(
        cls, connection: Redis, queue_key: str, timeout: int | None
    ) -> tuple[str, bytes] | None:
        """RQ's way to take the next job, called for each. Raises DequeueTimeout after `timeout`
        seconds; None: look once and do not wait."""
        taken = cls._take(connection, queue_key)
        if timeout is None:
            return None if taken is None or taken == _BUSY else (queue_key, taken)
        deadline = time.monotonic() + timeout
        while taken is None or taken == _BUSY:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DequeueTimeout(timeout, queue_key)
            if taken == _BUSY:
                time.sleep(min(_POLL_S, left))
                taken = cls._take(connection, queue_key)
            else:
                taken = cls._wait(connection, queue_key, left)
        return queue_key, taken

    @classmethod
    def _wait(cls, connection: Redis, queue_key: str, timeout_s: float) -> bytes | None:
        """Block until a job comes. It is taken without a look at its key, so then look."""
        taken_list = IntermediateQueue.get_intermediate_queue_key(queue_key)
        job = cast(bytes | None, connection.blmove(queue_key, taken_list, math.ceil(timeout_s)))
        return None if job is None else cls._take(connection, queue_key, job.decode())

    @classmethod
    def _take(cls, connection: Redis, queue_key: str, put_back: str = "") -> bytes | None:
        name = queue_key.removeprefix(_PREFIX)
        keys = [
            queue_key,
            IntermediateQueue.get_intermediate_queue_key(queue_key),
            StartedJobRegistry(name, connection=connection).key,
            workers_key(name),
            _PREFIX + cls.downstream,
        ]
        alive = utcformat(now() - timedelta(seconds=SILENT_S))
        script = connection.register_script(_TAKE)
        return cast(bytes | None, script(keys=keys, args=[alive, cls.slots, put_back]))

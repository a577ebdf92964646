"""Which place a waiting request has, and when it will probably have ended: a snapshot of the queue,
shared by all who ask within half a second.

Says what may be expected, promises nothing: a cancelled request moves all behind it forward, a
crashed worker moves them back. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from redis import Redis

from app.core.queueing.jobs import GPU, Jobs
from app.core.queueing.throughput import Measurements, Pace
from app.core.requests.record import RequestRecord, Status
from app.core.requests.store import UNFINISHED

_FRESH_S = 0.5
_DEFAULT_WORK = 20.0  # a megapixel, twenty evaluations

# KEYS = the gpu queue, the unfinished requests; ARGV[1] = the work of a request of which it is not
# known yet. Returns those that wait in the order in which they will be made, and those being made:
# id, work, profile and of the latter step and steps; cjson writes false for what is not known. What
# is not prepared yet stands where it would be put (app/core/queueing/fairness.py) if it were by
# now. Writes nothing: a Redis that is full is asked, too.
_LOOK = """
local queue, starts, in_list = KEYS[1], {}, {}
local jobs, waiting, working, seen = redis.call('LRANGE', queue, 0, -1), {}, {}, {}
for _, job in ipairs(jobs) do in_list[job] = true end
local from = tonumber(redis.call('GET', 'turns:' .. queue .. ':taken') or 0)
local known, taken = redis.call('ZRANGE', 'turns:' .. queue, 0, -1, 'WITHSCORES'), true
for i = 1, #known, 2 do
  starts[known[i]] = tonumber(known[i + 1])
  taken = taken and not in_list[known[i]]
  if taken then from = math.max(from, starts[known[i]]) end
end

local ends = {}
local function start_of(key, work)
  if not ends[key] then
    ends[key] = from
    local last = redis.call('ZREVRANGE', 'turns:' .. queue .. ':of:' .. key, 0, 63, 'WITHSCORES')
    for i = 1, #last, 2 do
      local status = redis.call('HGET', 'req:' .. string.match(last[i], '^(.*)%-'), 'status')
      if status and status ~= 'FAILED' then
        ends[key] = math.max(from, tonumber(last[i + 1]))
        break
      end
    end
  end
  local start = ends[key]
  ends[key] = start + (tonumber(work) or tonumber(ARGV[1]))
  return start
end

local at = -math.huge  -- what RQ put back stands before all that take turns
local function look(id, job)
  if seen[id] then return end
  seen[id] = true
  local of = redis.call('HMGET', 'req:' .. id,
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
for _, one in ipairs(waiting) do one[5], one[4] = nil, nil end
return cjson.encode({waiting, working})
"""


@dataclass(frozen=True, slots=True)
class Place:
    """position: 1 is next. eta_s: seconds until the end; None when nothing is known about that."""

    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """places: of those that waited when it was made; last: of one that came later."""

    pace: Pace
    places: Mapping[str, Place]
    last: Place

    def place(self, request_id: str) -> Place:
        """Of a request that is QUEUED."""
        return self.places.get(request_id, self.last)

    def eta_s(self, record: RequestRecord) -> float | None:
        """Seconds until an unfinished request has ended, or None."""
        if record.status is Status.QUEUED:
            return self.place(record.id).eta_s
        done = record.step / record.steps if record.steps else 0.0
        return self.pace.to_end_s(record.profile, record.work, done)


class Forecasts:
    def __init__(self, redis: Redis, jobs: Jobs) -> None:
        self._measurements = Measurements(redis)
        self._jobs = jobs
        self._look = redis.register_script(_LOOK)
        self._made: Forecast | None = None
        self._made_at = 0.0
        self._making: asyncio.Task[Forecast] | None = None

    async def current(self) -> Forecast:
        """One that is hardly older than _FRESH_S, however many ask. Raises RedisError."""
        if self._made is not None and time.monotonic() - self._made_at < _FRESH_S:
            return self._made
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(asyncio.to_thread(self.make))
        # Whoever asked first may hang up; the others still want it.
        return await asyncio.shield(self._making)

    def make(self) -> Forecast:
        """A new one: three round trips, of which the first takes longer the longer the queue is."""
        keys = [self._jobs.queue(GPU).key, UNFINISHED]
        pace = self._measurements.pace()
        waiting, working = json.loads(self._look(keys=keys, args=[pace.work or _DEFAULT_WORK]))
        made = foresee(waiting, working, pace, self._jobs.workers(GPU))
        self._made, self._made_at = made, time.monotonic()
        return made


Known = str | Literal[False]


def foresee(
    waiting: Sequence[tuple[str, Known, Known]],
    working: Sequence[tuple[str, Known, Known, Known, Known]],
    pace: Pace,
    workers: int,
) -> Forecast:
    """What the script found, with times: those ahead are shared evenly by the workers."""

    def place(ahead_s: float, position: int, work: Known, profile: Known) -> Place:
        own_s = pace.to_end_s(profile or None, float(work) if work else None)
        eta_s = None if own_s is None or not workers else ahead_s / workers + own_s
        return Place(position, eta_s)

    def model_s(work: Known, profile: Known) -> float:
        return pace.in_model_s(profile or None, float(work) if work else None) or 0.0

    ahead_s = 0.0
    for _, work, profile, step, steps in working:
        left = 1 - int(step) / int(steps) if step and steps else 1.0
        ahead_s += model_s(work, profile) * left
    places = {}
    for position, (request_id, work, profile) in enumerate(waiting, 1):
        places[request_id] = place(ahead_s, position, work, profile)
        ahead_s += model_s(work, profile)
    return Forecast(pace, places, place(ahead_s, len(places) + 1, False, False))

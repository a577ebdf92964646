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

from app.core.lua import script
from app.core.queueing.jobs import GPU, Jobs
from app.core.queueing.throughput import Pace, ThroughputMeter
from app.core.redis.keys import UNFINISHED
from app.core.requests.record import RequestRecord, Status

_FRESH_S = 0.5
_DEFAULT_WORK = 20.0  # a megapixel, twenty evaluations


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


class Forecaster:
    def __init__(self, redis: Redis, jobs: Jobs) -> None:
        self._measurements = ThroughputMeter(redis)
        self._jobs = jobs
        self._look = redis.register_script(script("queueing/forecast"))
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

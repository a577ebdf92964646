"""Forecast: the position and the ETA of waiting requests, from a snapshot of the queue.

All callers within half a second share one snapshot. It is an estimate: a cancelled request moves
the requests behind it forward, a crashed worker moves them back. Knows no HTTP.
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
from app.core.queueing.throughput import Throughput, ThroughputMeter
from app.core.redis.keys import UNFINISHED
from app.core.requests.record import RequestRecord, Status

_FRESH_S = 0.5
_DEFAULT_WORK = 20.0  # a megapixel, twenty evaluations


@dataclass(frozen=True, slots=True)
class Place:
    """position: 1 is next. eta_s: seconds until the end; None if unknown."""

    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """places: by id, of the requests that waited. last: the place of a newer request."""

    throughput: Throughput
    places: Mapping[str, Place]
    last: Place

    def place(self, request_id: str) -> Place:
        """The place of a QUEUED request."""
        return self.places.get(request_id, self.last)

    def eta_s(self, record: RequestRecord) -> float | None:
        """Seconds until an unfinished request ends; None if unknown."""
        if record.status is Status.QUEUED:
            return self.place(record.id).eta_s
        done = record.step / record.steps if record.steps else 0.0
        return self.throughput.to_end_s(record.profile, record.work, done)


class Forecaster:
    def __init__(self, redis: Redis, jobs: Jobs) -> None:
        self._meter = ThroughputMeter(redis)
        self._jobs = jobs
        self._snapshot = redis.register_script(script("queueing/forecast"))
        self._latest: Forecast | None = None
        self._read_at = 0.0
        self._refresh: asyncio.Task[Forecast] | None = None

    async def current(self) -> Forecast:
        """A forecast that is hardly older than _FRESH_S. Raises RedisError."""
        if self._latest is not None and time.monotonic() - self._read_at < _FRESH_S:
            return self._latest
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(asyncio.to_thread(self.refresh))
        # The first caller may be cancelled; the others still need the result.
        return await asyncio.shield(self._refresh)

    def refresh(self) -> Forecast:
        """A new forecast: three round trips; the cost of one grows with the queue."""
        keys = [self._jobs.queue(GPU).key, UNFINISHED]
        throughput = self._meter.read()
        waiting, running = json.loads(
            self._snapshot(keys=keys, args=[throughput.work or _DEFAULT_WORK])
        )
        forecast = forecast_queue(waiting, running, throughput, self._jobs.workers(GPU))
        self._latest, self._read_at = forecast, time.monotonic()
        return forecast


Known = str | Literal[False]


def forecast_queue(
    waiting: Sequence[tuple[str, Known, Known]],
    running: Sequence[tuple[str, Known, Known, Known, Known]],
    throughput: Throughput,
    workers: int,
) -> Forecast:
    """Add times to the rows of the script: the workers share the work ahead evenly."""

    def place(ahead_s: float, position: int, work: Known, profile: Known) -> Place:
        own_s = throughput.to_end_s(profile or None, float(work) if work else None)
        eta_s = None if own_s is None or not workers else ahead_s / workers + own_s
        return Place(position, eta_s)

    def model_s(work: Known, profile: Known) -> float:
        return throughput.in_model_s(profile or None, float(work) if work else None) or 0.0

    ahead_s = 0.0
    for _, work, profile, step, steps in running:
        remaining = 1 - int(step) / int(steps) if step and steps else 1.0
        ahead_s += model_s(work, profile) * remaining
    places = {}
    for position, (request_id, work, profile) in enumerate(waiting, 1):
        places[request_id] = place(ahead_s, position, work, profile)
        ahead_s += model_s(work, profile)
    return Forecast(throughput, places, place(ahead_s, len(places) + 1, False, False))

"""Forecast: the position and the ETA of unfinished requests, from a snapshot of the queue.

All callers within half a second share one snapshot, except for a newer request, which is worth
another one after a tenth. It is an estimate: a cancelled request moves
the requests behind it forward, a crashed worker moves them back. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from redis import Redis

from app.core.lua import script
from app.core.queueing.jobs import GPU, Jobs, carried_by
from app.core.queueing.remaining import RemainingTime
from app.core.queueing.startups import StartingWorker, starting_workers
from app.core.queueing.throughput import Throughput, ThroughputMeter
from app.core.queueing.workers import LiveWorker, live_workers
from app.core.redis.keys import UNFINISHED
from app.core.requests.record import RequestRecord, Status, record_from

_FRESH_S = 0.5
_FRESH_FOR_NEW_S = 0.1
_MOST_BUSY = 0.05
"""The largest share of the time for which snapshots for new requests may occupy Redis."""

_DEFAULT_WORK = 20.0  # a megapixel, twenty evaluations


class GpuWorkers(StrEnum):
    """Whether there is a gpu worker: ready for jobs, loading its checkpoint, or none."""

    READY = "ready"
    STARTING = "starting"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Place:
    """position: 1 is next. eta_s: seconds until the end; None if unknown."""

    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """places: by id, of the requests that waited. next_position, next_start_s: of a newer request,
    until a worker takes it; None if unknown. running: by id, of the requests on a gpu."""

    throughput: Throughput
    places: Mapping[str, Place]
    next_position: int
    next_start_s: float | None
    workers: GpuWorkers = GpuWorkers.READY
    checkpoint: str | None = None
    running: Mapping[str, RequestRecord] = field(default_factory=dict)
    devices: Mapping[str, str | None] = field(default_factory=dict)
    """By id of a running request."""

    def place(self, record: RequestRecord) -> Place:
        """The place of a QUEUED request."""
        if (place := self.places.get(record.id)) is not None:
            return place
        profile = record.expected.profile if record.expected else None
        own_s = self.throughput.to_end_s(profile, record.best_load)
        if own_s is None or self.next_start_s is None:
            return Place(self.next_position, None)
        return Place(self.next_position, self.next_start_s + own_s)

    def eta_s(self, record: RequestRecord) -> float | None:
        """Seconds until an unfinished request ends; None if unknown."""
        if record.status is Status.QUEUED or record.id in self.places:  # its worker may have died
            return self.place(record).eta_s
        return self._with_delivery(self._remaining(record.id).seconds(record, time.time()))

    def eta_after_step_s(self, record: RequestRecord, step: int, steps: int) -> float | None:
        """The same as it is at the end of a step. record: may be older than the step."""
        latest = self.running.get(record.id, record)
        return self._with_delivery(self._remaining(record.id).after_step(latest, step, steps))

    def _remaining(self, request_id: str) -> RemainingTime:
        return RemainingTime(self.throughput, self.checkpoint, self.devices.get(request_id))

    def _with_delivery(self, in_model_s: float | None) -> float | None:
        return None if in_model_s is None else in_model_s + self.throughput.delivery_s


class Forecaster:
    def __init__(self, redis: Redis, jobs: Jobs) -> None:
        self._redis = redis
        self._meter = ThroughputMeter(redis)
        self._jobs = jobs
        self._snapshot = redis.register_script(script("queueing/forecast"))
        self._latest: Forecast | None = None
        self._read_at = 0.0
        self._read_s = 0.0
        self._refresh: asyncio.Task[Forecast] | None = None

    async def current(self, record: RequestRecord) -> Forecast:
        """A forecast that is hardly older than _FRESH_S, for an unfinished request. Raises
        RedisError."""
        if self._latest is not None:
            fresh_s = _FRESH_S
            if record.status is Status.QUEUED and record.id not in self._latest.places:
                fresh_s = min(fresh_s, max(_FRESH_FOR_NEW_S, self._read_s / _MOST_BUSY))
            if time.monotonic() - self._read_at < fresh_s:
                return self._latest
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(asyncio.to_thread(self.refresh))
        # The first caller may be cancelled; the others still need the result.
        return await asyncio.shield(self._refresh)

    def refresh(self) -> Forecast:
        """A new forecast: four round trips, five while a worker starts; the cost of one grows with
        the queue."""
        began = time.monotonic()
        workers = live_workers(self._redis, GPU)
        starting = starting_workers(self._redis)
        models = [worker.model for worker in workers if worker.model is not None]
        models += [worker.checkpoint for worker in starting]
        checkpoint = models[0] if models else None
        throughput = self._meter.read(checkpoint)
        keys = [self._jobs.queue(GPU).key, UNFINISHED]
        waiting, running = json.loads(
            self._snapshot(keys=keys, args=[throughput.work or _DEFAULT_WORK])
        )
        records = [_record(*row) for row in running]
        forecast = forecast_queue(waiting, records, throughput, workers, starting, checkpoint)
        self._latest, self._read_at = forecast, time.monotonic()
        self._read_s = self._read_at - began
        return forecast


Known = str | float | Literal[False]


def forecast_queue(
    waiting: Sequence[tuple[str, Known, Known]],
    running: Sequence[RequestRecord],
    throughput: Throughput,
    workers: Sequence[LiveWorker],
    starting: Sequence[StartingWorker] = (),
    checkpoint: str | None = None,
) -> Forecast:
    """Let the workers do the running and then the waiting requests, in this order, each on the
    worker that is free first. waiting: (id, load, profile), as the script returns it."""
    slots = [_Slot(worker.device) for worker in workers]
    devices = _assign(running, throughput, workers, slots, checkpoint)
    # Those that start have nothing to finish.
    slots += [_Slot(None, at.remaining_s) for at in starting if at.remaining_s is not None]
    places = {}
    for position, (request_id, load, profile) in enumerate(waiting, 1):
        places[request_id] = Place(position, _take(slots, throughput, load, profile))
    none_ready = GpuWorkers.STARTING if starting else GpuWorkers.ABSENT
    return Forecast(
        throughput=throughput,
        places=places,
        next_position=len(places) + 1,
        next_start_s=min(slot.free_s for slot in slots) if slots else None,
        workers=GpuWorkers.READY if workers else none_ready,
        checkpoint=checkpoint,
        running={record.id: record for record in running},
        devices=devices,
    )


@dataclass(slots=True)
class _Slot:
    """A worker. free_s: seconds until it takes the next request."""

    device: str | None
    free_s: float = 0.0


def _assign(
    running: Sequence[RequestRecord],
    throughput: Throughput,
    workers: Sequence[LiveWorker],
    slots: Sequence[_Slot],
    checkpoint: str | None,
) -> dict[str, str | None]:
    """Let each running request occupy its worker, or any if its worker is not known. Returns the
    devices by id."""
    at_work = {
        carried[0]: slot
        for worker, slot in zip(workers, slots, strict=True)
        if worker.job is not None and (carried := carried_by(worker.job)) is not None
    }
    now, devices = time.time(), {}
    # Those of known workers first, so that the others get the workers that are left.
    for record in sorted(running, key=lambda record: record.id not in at_work):
        slot = at_work.get(record.id) or _first_free(slots)
        device = slot.device if slot is not None else None
        devices[record.id] = device
        remaining = RemainingTime(throughput, checkpoint, device)
        if slot is not None:
            slot.free_s += remaining.seconds(record, now) or 0.0
    return devices


def _take(
    slots: Sequence[_Slot], throughput: Throughput, load: Known, profile: Known
) -> float | None:
    """Give a request to the worker that is free first. Seconds until its end; None if unknown."""
    slot = _first_free(slots)
    if slot is None:
        return None
    known = None if load is False else float(load)
    in_model_s = throughput.in_model_s(str(profile) if profile else None, known, slot.device)
    if in_model_s is None:
        return None
    slot.free_s += in_model_s
    return slot.free_s + throughput.delivery_s


def _first_free(slots: Sequence[_Slot]) -> _Slot | None:
    return min(slots, key=lambda slot: slot.free_s, default=None)


def _record(request_id: str, flat: Sequence[str]) -> RequestRecord:
    fields: dict[str, Any] = dict(zip(flat[::2], flat[1::2], strict=True))
    record = record_from(request_id, fields)
    assert record is not None  # the script has read its status
    return record

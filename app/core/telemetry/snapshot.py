"""Everything that /metrics shows, read from Redis in one round trip. Knows no format of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis.asyncio as async_redis
from rq.utils import utcparse

from app.core.queue import QUEUES
from app.core.requests import UNFINISHED
from app.core.telemetry.counters import COUNTERS, parse
from app.core.telemetry.devices import FIELDS, DeviceStatus
from app.core.workers import is_alive, workers_key

_ENQUEUED_AT = "rq:job:*->enqueued_at"


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """oldest_s: seconds since the job that has waited longest was queued; 0 when none waits."""

    waiting: int
    oldest_s: float
    workers: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """counters: names -> number, as app.core.telemetry.counters has them. devices: by worker.
    memory_max: bytes, 0 when Redis has no bound."""

    counters: Mapping[tuple[str, ...], float]
    queues: Mapping[str, QueueStatus]
    devices: Mapping[str, DeviceStatus]
    unfinished: int
    memory_used: int
    memory_max: int


async def take_snapshot(redis: async_redis.Redis) -> Snapshot:
    """Raises RedisError."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(COUNTERS)
        pipe.zcard(UNFINISHED)
        pipe.info("memory")
        for queue in QUEUES:
            pipe.sort(f"rq:queue:{queue}", by="nosort", get=[_ENQUEUED_AT])
            of_worker = ["*->last_heartbeat", *(f"*->{name}" for name in FIELDS)]
            pipe.sort(workers_key(queue), by="nosort", get=["#", *of_worker], groups=True)
        counters, unfinished, memory, *of_queues = await pipe.execute()
    queues, devices = {}, {}
    for queue, waiting, found in zip(QUEUES, of_queues[::2], of_queues[1::2], strict=True):
        alive = [(key, values) for key, heartbeat, *values in found if is_alive(heartbeat)]
        queues[queue] = QueueStatus(len(waiting), _oldest(waiting), len(alive))
        for key, values in alive:
            if (status := DeviceStatus.read(values)) is not None:
                devices[key.decode().removeprefix("rq:worker:")] = status
    return Snapshot(
        parse(counters),
        queues,
        devices,
        unfinished,
        memory["used_memory"],
        memory["maxmemory"],
    )


def _oldest(enqueued_at: list[bytes | None]) -> float:
    # RQ writes all times in one form, so the first of them is the least text.
    first = min((one for one in enqueued_at if one), default=None)
    return 0.0 if first is None else max(0.0, time.time() - utcparse(first.decode()).timestamp())

"""The snapshot that /metrics shows, read from Redis in one round trip. Knows no output format."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis.asyncio as async_redis
from rq.utils import utcparse

from app.core.lua import script
from app.core.queueing.devices import FIELDS, DeviceStatus
from app.core.queueing.jobs import QUEUES
from app.core.queueing.workers import is_alive, workers_key
from app.core.redis import keys
from app.core.telemetry.counters import parse


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """oldest_s: age of the job that has waited longest, in seconds; 0 if none waits."""

    waiting: int
    oldest_s: float
    workers: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """counters: names -> number (app.core.telemetry.counters). devices: by worker. memory_*: bytes
    of Redis; memory_max is 0 without a maxmemory."""

    counters: Mapping[tuple[str, ...], float]
    queues: Mapping[str, QueueStatus]
    devices: Mapping[str, DeviceStatus]
    unfinished: int
    memory_used: int
    memory_max: int


async def take_snapshot(redis: async_redis.Redis) -> Snapshot:
    """Raises RedisError."""
    queue_status = script("queueing/queue_status")
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.COUNTERS)
        pipe.zcard(keys.UNFINISHED)
        pipe.info("memory")
        for queue in QUEUES:
            worker_fields = ("last_heartbeat", *FIELDS)
            pipe.eval(queue_status, 2, keys.queue(queue), workers_key(queue), *worker_fields)
        counters, unfinished, memory, *statuses = await pipe.execute()
    queues, devices = {}, {}
    for queue, (waiting, since, workers) in zip(QUEUES, statuses, strict=True):
        alive = [(key, values) for key, (heartbeat, *values) in workers if is_alive(heartbeat)]
        queues[queue] = QueueStatus(waiting, _age(since), len(alive))
        for key, values in alive:
            if (status := DeviceStatus.read(values)) is not None:
                devices[key.decode().removeprefix(keys.worker(""))] = status
    return Snapshot(
        parse(counters),
        queues,
        devices,
        unfinished,
        memory["used_memory"],
        memory["maxmemory"],
    )


def _age(since: bytes | None) -> float:
    return 0.0 if since is None else max(0.0, time.time() - utcparse(since.decode()).timestamp())

"""Everything that /metrics shows, read from Redis in one round trip. Knows no format of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis.asyncio as async_redis
from rq.utils import utcparse

from app.core.queueing.jobs import QUEUES
from app.core.queueing.workers import is_alive, workers_key
from app.core.requests.store import UNFINISHED
from app.core.telemetry.counters import COUNTERS, parse
from app.core.telemetry.devices import FIELDS, DeviceStatus

# KEYS = a queue, the set of its workers; ARGV = fields of a worker's hash. Returns how many jobs
# wait, since when the oldest does, and each worker's key with these fields. No SORT: it counts as
# a write, and a Redis that is full refuses it. RQ writes all times in one form, so the first of
# them is the least text.
_QUEUE = """
local jobs, workers, oldest = redis.call('LRANGE', KEYS[1], 0, -1), {}, false
for _, job in ipairs(jobs) do
  local since = redis.call('HGET', 'rq:job:' .. job, 'enqueued_at')
  if since and since ~= '' and (not oldest or since < oldest) then oldest = since end
end
for i, worker in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  workers[i] = {worker, redis.call('HMGET', worker, unpack(ARGV))}
end
return {#jobs, oldest, workers}
"""


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
            of_worker = ("last_heartbeat", *FIELDS)
            pipe.eval(_QUEUE, 2, f"rq:queue:{queue}", workers_key(queue), *of_worker)
        counters, unfinished, memory, *of_queues = await pipe.execute()
    queues, devices = {}, {}
    for queue, (waiting, since, workers) in zip(QUEUES, of_queues, strict=True):
        alive = [(key, values) for key, (beat, *values) in workers if is_alive(beat)]
        queues[queue] = QueueStatus(waiting, _age(since), len(alive))
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


def _age(since: bytes | None) -> float:
    return 0.0 if since is None else max(0.0, time.time() - utcparse(since.decode()).timestamp())

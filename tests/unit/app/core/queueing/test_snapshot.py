"""What /metrics reads of queues, workers, devices and Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis
from rq.utils import now, utcformat

from app.core.queueing.devices import DeviceStatus
from app.core.queueing.snapshot import QueueStatus, Snapshot, take_snapshot
from app.core.redis import keys
from app.core.redis.connection import connect_async

STATUS = DeviceStatus("demo", "card", 5.0, 0.5, 2.25, 3, 4)


def snapshot(url: str) -> Snapshot:
    async def taken() -> Snapshot:
        client = connect_async(url)
        try:
            return await take_snapshot(client)
        finally:
            await client.aclose()

    return asyncio.run(taken())


def ago(seconds: float) -> str:
    return utcformat(now() - timedelta(seconds=seconds))


def register(redis: Redis, queue: str, name: str, silent_s: float = 0.0) -> str:
    key = keys.worker(name)
    redis.hset(key, "last_heartbeat", ago(silent_s))
    redis.sadd(f"rq:workers:{queue}", key)
    return key


@pytest.mark.usefixtures("redis")
def test_a_snapshot_of_an_idle_server_has_every_queue(redis_server: str) -> None:
    taken = snapshot(redis_server)
    assert list(taken.queues) == ["fetch", "cpu", "gpu", "finish", "webhooks"]
    assert set(taken.queues.values()) == {QueueStatus(0, 0.0, 0)}
    assert (taken.counters, taken.devices, taken.unfinished) == ({}, {}, 0)


def test_the_age_of_a_queue_is_that_of_its_oldest_job(redis: Redis, redis_server: str) -> None:
    for name, waited_s in (("a", 100.0), ("b", 3000.0), ("c", 10.0)):
        redis.rpush(keys.queue("gpu"), name)
        redis.hset(keys.job(name), "enqueued_at", ago(waited_s))
    redis.rpush(keys.queue("gpu"), "without-a-hash", "empty")
    redis.hset(keys.job("empty"), "enqueued_at", "")
    waiting = snapshot(redis_server).queues["gpu"]
    assert (waiting.waiting, waiting.workers) == (5, 0)
    assert 3000 <= waiting.oldest_s < 3060
    redis.lpop(keys.queue("gpu"), 2)
    assert 10 <= snapshot(redis_server).queues["gpu"].oldest_s < 70


def test_silent_workers_and_their_devices_are_left_out(redis: Redis, redis_server: str) -> None:
    STATUS.publish(redis, register(redis, "gpu", "gpu-1"))
    replace(STATUS, model="other").publish(redis, register(redis, "gpu", "gpu-2", silent_s=60))
    register(redis, "gpu", "gpu-3")
    register(redis, "cpu", "cpu-1")
    taken = snapshot(redis_server)
    assert {name: queue.workers for name, queue in taken.queues.items() if queue.workers} == {
        "cpu": 1,
        "gpu": 2,
    }
    assert taken.devices == {"gpu-1": STATUS}


def test_counters_and_unfinished_requests_are_read(redis: Redis, redis_server: str) -> None:
    redis.hset(keys.COUNTERS, mapping={"ended|completed|": "2", "steps": "15"})
    redis.zadd(keys.UNFINISHED, {"a": 1.0, "b": 2.0})
    taken = snapshot(redis_server)
    assert taken.counters == {("ended", "completed", ""): 2.0, ("steps",): 15.0}
    assert taken.unfinished == 2
    assert taken.memory_used > 100_000
    assert taken.memory_max == redis.info("memory")["maxmemory"]

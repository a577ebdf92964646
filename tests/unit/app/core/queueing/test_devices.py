"""The status of a device in the hash of its worker."""

from __future__ import annotations

import pytest
from redis import Redis

from app.core.queueing.devices import FIELDS, DeviceStatus

STATUS = DeviceStatus("demo", "NVIDIA card", 12.5, 0.25, 3.75, 1000, 80_000_000_000)
WORKER = "rq:worker:gpu-1"


def test_a_published_status_is_read_again(redis: Redis) -> None:
    redis.hset(WORKER, "birth", "now")
    STATUS.publish(redis, WORKER)
    assert redis.hget(WORKER, "birth") == b"now"
    assert DeviceStatus.read(redis.hmget(WORKER, FIELDS)) == STATUS


def test_a_worker_whose_hash_has_expired_gets_no_new_one(redis: Redis) -> None:
    STATUS.publish(redis, WORKER)
    assert redis.exists(WORKER) == 0


@pytest.mark.parametrize("missing", range(len(FIELDS)))
def test_an_incomplete_status_is_none(missing: int) -> None:
    values: list[bytes | None] = [b"a", b"b", b"1", b"1", b"1", b"1", b"1"]
    assert DeviceStatus.read(values) is not None
    values[missing] = None
    assert DeviceStatus.read(values) is None


def test_the_fields_have_their_names() -> None:
    assert (
        *("model", "device", "busy_s", "busy_ratio", "steps_per_s"),
        *("memory_used", "memory_total"),
    ) == FIELDS

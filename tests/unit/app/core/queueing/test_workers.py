"""Workers: which are alive, and the parts of a worker's name."""

from __future__ import annotations

import re
import socket
from datetime import datetime, timedelta

import pytest
from redis import Redis
from rq.utils import now, utcformat

from app.core.queueing import workers as module
from app.core.queueing.workers import LiveWorker, is_here, live_workers, name_here, workers_key


def silent_for(
    redis: Redis, name: str, seconds: float, moment: datetime | None = None, **fields: int
) -> None:
    """A worker of the gpu queue whose last heartbeat was so long before `moment`, or before now."""
    key = f"rq:worker:{name}"
    heartbeat = utcformat((moment or now()) - timedelta(seconds=seconds))
    redis.hset(key, mapping={"last_heartbeat": heartbeat, **fields})
    redis.sadd("rq:workers:gpu", key)


def test_a_silence_of_fifteen_seconds_is_death(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = now()
    monkeypatch.setattr(module, "now", lambda: moment)
    silent_for(redis, "alive", 14.99, moment)
    silent_for(redis, "dead", 15, moment)
    assert live_workers(redis, "gpu") == [LiveWorker("alive", None)]
    assert live_workers(redis, "cpu") == []


def test_a_worker_whose_hash_has_expired_is_dead(redis: Redis) -> None:
    redis.sadd("rq:workers:gpu", "rq:worker:gone")
    assert live_workers(redis, "gpu") == []


@pytest.mark.parametrize("pixels", [0, 700_000])
def test_a_worker_says_what_its_card_can_do(redis: Redis, pixels: int) -> None:
    silent_for(redis, "card", 0, max_pixels=pixels)
    assert live_workers(redis, "gpu") == [LiveWorker("card", pixels)]


def test_a_gpu_worker_tells_its_checkpoint(redis: Redis) -> None:
    silent_for(redis, "card", 0)
    redis.hset("rq:worker:card", "model", "demo")
    assert live_workers(redis, "gpu") == [LiveWorker("card", None, "demo")]


def test_the_set_of_a_queues_workers_is_rqs_own() -> None:
    assert workers_key("gpu") == "rq:workers:gpu"


def test_a_name_is_new_each_time_and_says_queue_and_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host-1")
    names = {name_here("gpu") for _ in range(10)}
    assert len(names) == 10
    assert all(re.fullmatch(r"gpu-host-1-[0-9a-f]{12}", name) for name in names)
    assert all(is_here(name) for name in names)


@pytest.mark.parametrize(
    "name",
    ["gpu-host-12-0123456789ab", "gpu-host-0123456789ab", "gpu-other-1-0123456789ab", "x", ""],
)
def test_a_worker_of_another_host_is_not_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host-1")
    assert not is_here(name)

"""Starting workers: for how long they are one, and when they will be ready."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis import Redis

from app.core.queueing import startups
from app.core.queueing.startups import StartingWorker, Startup, starting_workers


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_700_000_000.0)
    clock.time = lambda: clock.now
    monkeypatch.setattr(startups, "time", clock)
    return clock


def test_a_worker_that_starts_is_seen_until_it_is_ready(
    redis: Redis, clock: SimpleNamespace
) -> None:
    assert starting_workers(redis) == []
    startup = Startup(redis, "gpu-1", "demo")
    startup.beat()
    assert starting_workers(redis) == [StartingWorker("demo", None)]
    clock.now += 40
    startup.beat()
    startup.ready()
    assert starting_workers(redis) == []
    assert redis.hget("measured", "startup_s:demo") == b"40"


def test_the_last_start_says_how_long_the_next_one_takes(
    redis: Redis, clock: SimpleNamespace
) -> None:
    redis.hset("measured", "startup_s:demo", "40")
    startup = Startup(redis, "gpu-1", "demo")
    for passed_s, remaining_s in ((0, 40), (10, 30), (39, 3.9), (100, 10)):
        clock.now = 1_700_000_000.0 + passed_s
        startup.beat()
        assert starting_workers(redis) == [StartingWorker("demo", pytest.approx(remaining_s))]
    assert redis.zcard("workers:starting") == 1


def test_a_silent_one_is_gone(redis: Redis, clock: SimpleNamespace) -> None:
    Startup(redis, "gpu-1", "demo").beat()
    assert 0 < redis.ttl("workers:starting") <= 15
    clock.now += 15
    assert starting_workers(redis) == [StartingWorker("demo", None)]
    clock.now += 0.01
    assert starting_workers(redis) == []
    Startup(redis, "gpu-2", "demo").beat()
    assert redis.zcard("workers:starting") == 1


def test_each_start_has_the_time_of_its_checkpoint(redis: Redis) -> None:
    redis.hset("measured", "startup_s:demo", "4")
    Startup(redis, "gpu-1", "flux-dev-union-pro").beat()
    Startup(redis, "gpu-2", "demo").beat()
    starting = sorted(starting_workers(redis), key=lambda worker: worker.checkpoint)
    assert starting == [
        StartingWorker("demo", pytest.approx(4)),
        StartingWorker("flux-dev-union-pro", None),
    ]

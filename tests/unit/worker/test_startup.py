"""The announcement of a gpu worker that loads its checkpoint."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.queueing.startups import Startup, starting_workers
from tests.support.waiting import until
from worker import startup as module
from worker.startup import AnnouncedStartup


@pytest.fixture(autouse=True)
def short_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)


def test_a_start_is_announced_until_the_worker_is_ready(redis: Redis) -> None:
    with AnnouncedStartup(redis, "demo") as startup:
        until(lambda: len(starting_workers(redis)) == 1, "the announcement", 5)
        redis.delete("workers:starting")
        until(lambda: len(starting_workers(redis)) == 1, "its renewal", 5)
        startup.ready()
        assert starting_workers(redis) == []
    assert redis.hexists("measured", "startup_s:demo")


def test_a_start_that_fails_is_no_measurement(redis: Redis) -> None:
    with pytest.raises(SystemExit), AnnouncedStartup(redis, "demo") as startup:
        raise SystemExit(0)
    startup._thread.join(5)
    assert not startup._thread.is_alive()
    assert not redis.exists("measured")


def test_a_worker_starts_without_redis(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(startup: Startup) -> None:
        calls.append(startup)
        raise RedisConnectionError("away")

    monkeypatch.setattr(Startup, "beat", fail)
    monkeypatch.setattr(Startup, "ready", fail)
    with AnnouncedStartup(redis, "demo") as startup:
        until(lambda: len(calls) > 2, "three attempts", 5)
        startup.ready()

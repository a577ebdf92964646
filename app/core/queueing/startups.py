"""Starting gpu workers: those that load and warm up their checkpoint, before RQ knows them.

A sorted set has one entry for each, by its last heartbeat, so the status can say whether a
worker will come. The seconds of the last start are in the hash `measured`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from redis import Redis

from app.core.queueing.workers import SILENT_S
from app.core.redis.keys import MEASURED, STARTING_WORKERS

_LATE_SHARE = 0.1
"""A start that is later than the last one is expected to take this share of its time more."""


@dataclass(frozen=True, slots=True)
class StartingWorker:
    """checkpoint: that it loads. remaining_s: until it takes jobs; None if no start has been
    measured."""

    checkpoint: str
    remaining_s: float | None


class Startup:
    """The start of one gpu worker."""

    def __init__(self, redis: Redis, name: str, checkpoint: str) -> None:
        self._redis = redis
        self._checkpoint = checkpoint
        self._began = time.time()
        self._member = f"{self._began!r} {checkpoint} {name}"

    def beat(self) -> None:
        """Every few seconds while it loads."""
        now = time.time()
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(STARTING_WORKERS, "-inf", now - SILENT_S)
            pipe.zadd(STARTING_WORKERS, {self._member: now})
            pipe.expire(STARTING_WORKERS, SILENT_S)
            pipe.execute()

    def ready(self) -> None:
        """It is about to take jobs."""
        seconds = f"{time.time() - self._began:.9g}"
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(STARTING_WORKERS, self._member)
            pipe.hset(MEASURED, f"startup_s:{self._checkpoint}", seconds)
            pipe.execute()


def starting_workers(redis: Redis) -> list[StartingWorker]:
    now = time.time()
    members = cast(list[bytes], redis.zrangebyscore(STARTING_WORKERS, now - SILENT_S, "+inf"))
    if not members:
        return []
    starts = [member.decode().split(" ", 2) for member in members]
    names = [f"startup_s:{checkpoint}" for _, checkpoint, _ in starts]
    measured = cast(list[bytes | None], redis.hmget(MEASURED, names))
    return [
        StartingWorker(checkpoint, _remaining_s(now - float(began), seconds))
        for (began, checkpoint, _), seconds in zip(starts, measured, strict=True)
    ]


def _remaining_s(passed_s: float, measured_s: bytes | None) -> float | None:
    if measured_s is None:
        return None
    return max(float(measured_s) - passed_s, _LATE_SHARE * passed_s)

"""The counters of /metrics: one hash in Redis, which survives restarts and is the same for all
replicas.

Owns the names of its fields and the bucket bounds of the histograms. The script that changes a
request also counts the change (app/core/lua/fragments/counters.lua), exactly once. Other events
(HTTP responses, refusals) collect in a Tally, which is flushed periodically. Does not know the
format of Prometheus.

A field is `family|label|...`. A histogram has a field `...|BOUND` for values up to that bound and
above the previous one, `...|inf` for the rest, and `...|sum`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

import redis.asyncio as async_redis
from redis.exceptions import RedisError

from app.core.redis.keys import COUNTERS

BOUNDS = tuple(
    "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 20 30 60 120 300 600 1800".split()  # seconds
)
BEYOND = "inf"
SUM = "sum"

SUBMITTED = "submitted"
ENDED = "ended"
"""outcome, reason (the name of the error's class)"""
EXPIRED = "expired"
"""Outcome of a request whose record expired before it ended."""
STAGE = "stage"
"""Histogram: prepare, queue, generate, finish, total."""
ETA_ERROR = "eta_error"
"""Histogram: |predicted_s of the record - actual| seconds from start to end."""
STEPS = "steps"
REFUSED = "refused"
"""status, reason (the name of the error's class)"""
HTTP = "http"
"""method, route, status"""
HTTP_SECONDS = "http_seconds"
"""Histogram: method, route."""


def lua_constants() -> Mapping[str, str]:
    """Name in Lua -> its declaration."""
    names = {"BEYOND": BEYOND, "SUM": SUM, "BOUNDS": " ".join(BOUNDS), "ENDED": ENDED}
    names |= {"EXPIRED": EXPIRED, "STAGE": STAGE, "ETA_ERROR": ETA_ERROR, "STEPS": STEPS}
    return {name: f"local {name} = '{text}'" for name, text in names.items()}


def field(*names: str) -> str:
    return "|".join(names)


class Tally:
    """Counts of this process that are not in Redis yet. Not thread-safe."""

    def __init__(self) -> None:
        self._bounds = [float(bound) for bound in BOUNDS]
        self._numbers: defaultdict[str, float] = defaultdict(int)

    def count(self, *names: str) -> None:
        self._numbers[field(*names)] += 1

    def observe(self, seconds: float, *names: str) -> None:
        index = bisect_left(self._bounds, seconds)
        bound = BOUNDS[index] if index < len(BOUNDS) else BEYOND
        self._numbers[field(*names, bound)] += 1
        self._numbers[field(*names, SUM)] += seconds

    async def flush(self, redis: async_redis.Redis) -> None:
        """Add all counts to Redis in one round trip. On RedisError, keeps them and raises: counts
        that a broken connection did not acknowledge may be added twice."""
        numbers, self._numbers = self._numbers, defaultdict(int)
        if not numbers:
            return
        try:
            async with redis.pipeline(transaction=True) as pipe:
                for name, number in numbers.items():
                    pipe.hincrbyfloat(COUNTERS, name, number)
                await pipe.execute()
        except RedisError:
            for name, number in numbers.items():
                self._numbers[name] += number
            raise


def parse(raw: Mapping[bytes, bytes]) -> dict[tuple[str, ...], float]:
    """Parse the hash from Redis: names -> number."""
    return {tuple(name.decode().split("|")): float(number) for name, number in raw.items()}

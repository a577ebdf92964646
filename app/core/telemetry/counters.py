"""What /metrics counts: one hash of Redis, so that no restart of ours loses a number and every
replica shows the same.

Owns the names of its fields and the bounds of the histograms. A change of a request is counted by
the script that makes it (app/core/lua/fragments/counters.lua), so it is counted once. What changes
no request (HTTP answers, refusals) is collected in a Tally and added every now and then. Knows
neither Prometheus' format nor what is counted where.

A field is `family|label|...`. A histogram has `...|BOUND` for what was at most that bound and
above the one before it, `...|inf` for the rest, and `...|sum`.
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
"""The outcome of a request whose record expired before it ended."""
STAGE = "stage"
"""Histogram: prepare, queue, generate, finish, total."""
ETA_ERROR = "eta_error"
"""Histogram: |seconds from start to end - as the record's `predicted_s` had them|."""
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
    """Numbers of this process that are not in Redis yet. For one thread."""

    def __init__(self) -> None:
        self._bounds = [float(bound) for bound in BOUNDS]
        self._numbers: defaultdict[str, float] = defaultdict(int)

    def count(self, *names: str) -> None:
        self._numbers[field(*names)] += 1

    def observe(self, seconds: float, *names: str) -> None:
        place = bisect_left(self._bounds, seconds)
        bound = BOUNDS[place] if place < len(BOUNDS) else BEYOND
        self._numbers[field(*names, bound)] += 1
        self._numbers[field(*names, SUM)] += seconds

    async def deliver(self, redis: async_redis.Redis) -> None:
        """Add everything to Redis in one round trip. Raises RedisError, and keeps it then: what a
        broken connection did not acknowledge may be added twice."""
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
    """The hash as Redis answers it: names -> number."""
    return {tuple(name.decode().split("|")): float(number) for name, number in raw.items()}

"""Admission control: a limit on unfinished requests, and a watermark for the memory of Redis.

Runs on the event loop, before anything of a request is stored. It checks the current state, so
concurrent submissions can exceed the limit by their number.
"""

from __future__ import annotations

import math
import time
from typing import cast

import redis.asyncio as async_redis

from app.core.errors import Overloaded
from app.core.redis import keys
from app.core.settings import Settings

_MEMORY_S = 1.0
_RETRY_AFTER_S = 60
"""Retry-After while no request has COMPLETED yet, so no throughput is known."""


class Admission:
    def __init__(self, redis: async_redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._max_queued = settings.max_queued
        self._watermark = settings.memory_watermark
        self._max_retry_after_s = settings.request_ttl_s
        self._memory_used = 0.0
        self._memory_read_at = -math.inf

    async def check(self, unfinished: int) -> None:
        """Raises Overloaded (503) with the seconds until capacity should be free again.

        unfinished: number of unfinished requests.
        """
        if unfinished >= self._max_queued:
            wait_s = await self._seconds_for(unfinished - self._max_queued + 1)
            raise Overloaded(f"{self._max_queued} requests wait already", wait_s)
        await self.check_memory()

    async def check_memory(self) -> None:
        """Only the memory check, for other writes to Redis. Raises Overloaded (503)."""
        if await self._memory() >= self._watermark:
            wait_s = await self._seconds_for(1)
            raise Overloaded("its memory is nearly full", wait_s)

    async def _memory(self) -> float:
        """Share of maxmemory in use, at most _MEMORY_S old; 0 without a maxmemory."""
        now = time.monotonic()
        if now - self._memory_read_at >= _MEMORY_S:
            self._memory_read_at = now  # first, so that concurrent checks do not repeat it
            info = await self._redis.info("memory")
            limit = info["maxmemory"]
            self._memory_used = info["used_memory"] / limit if limit else 0.0
        return self._memory_used

    async def _seconds_for(self, ends: int) -> int:
        """Seconds until `ends` requests end at the recent throughput. At least 1, and at most the
        TTL of a request, because all that wait now have expired by then."""
        moments = cast(list[bytes], await self._redis.lrange(keys.COMPLETIONS, 0, -1))
        if not moments:
            return min(_RETRY_AFTER_S, self._max_retry_after_s)
        window_s = max(0.0, time.time() - float(moments[-1]))
        return max(1, min(math.ceil(ends * window_s / len(moments)), self._max_retry_after_s))

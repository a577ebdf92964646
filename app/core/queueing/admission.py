"""Whether the server takes on another request: a bound on those that have not ended, and a
watermark for Redis' memory. Asked before anything of a request is stored, on the event loop.

Looks at the moment, so as many may slip in too many as are being submitted at the same time.
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
"""What is said while nothing has been COMPLETED yet, so that there is no rate to go by."""


class Admission:
    def __init__(self, redis: async_redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._max_queued = settings.max_queued
        self._watermark = settings.memory_watermark
        self._longest_s = settings.request_ttl_s
        self._memory_used = 0.0
        self._memory_read_at = -math.inf

    async def check(self, unfinished: int) -> None:
        """Raises Overloaded (503) with the seconds until there should be room again.

        unfinished: how many requests have not ended.
        """
        if unfinished >= self._max_queued:
            wait_s = await self._seconds_for(unfinished - self._max_queued + 1)
            raise Overloaded(f"{self._max_queued} requests wait already", wait_s)
        await self.check_memory()

    async def check_memory(self) -> None:
        """The half of it for whatever else takes room in Redis."""
        if await self._memory() >= self._watermark:
            wait_s = await self._seconds_for(1)
            raise Overloaded("its memory is nearly full", wait_s)

    async def _memory(self) -> float:
        """The share of Redis' memory in use, not older than _MEMORY_S; 0 when it has no bound."""
        now = time.monotonic()
        if now - self._memory_read_at >= _MEMORY_S:
            self._memory_read_at = now  # at once: those who come meanwhile need not ask as well
            info = await self._redis.info("memory")
            bound = info["maxmemory"]
            self._memory_used = info["used_memory"] / bound if bound else 0.0
        return self._memory_used

    async def _seconds_for(self, ends: int) -> int:
        """How long it takes until `ends` requests end, at the rate of the last ones; at least 1 and
        at most what a request lives, since by then those that wait now have expired."""
        moments = cast(list[bytes], await self._redis.lrange(keys.COMPLETIONS, 0, -1))
        if not moments:
            return min(_RETRY_AFTER_S, self._longest_s)
        took_s = max(0.0, time.time() - float(moments[-1]))
        return max(1, min(math.ceil(ends * took_s / len(moments)), self._longest_s))

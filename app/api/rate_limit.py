"""The rate limit of an API key: submissions in any 60 s. Does not limit polls and other reads."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import redis.asyncio as async_redis
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from app.core.accounts.api_keys import Key
from app.core.clock import rfc3339
from app.core.errors import RateLimited
from app.core.redis import keys

RESET_HEADER = "x-rate-limit-reset-at-utc"


@dataclass(frozen=True, slots=True)
class RateWindow:
    """remaining: submissions that the API key may still make now. reset_at: when it may make one
    more than that (Unix seconds)."""

    remaining: int
    reset_at: float

    @property
    def headers(self) -> dict[str, str]:
        return {
            RESET_HEADER: rfc3339(math.ceil(self.reset_at)),
            "x-rate-limit-remaining": str(self.remaining),
        }


class RateLimiter:
    """Counts in Redis, so the limit holds across replicas: at most rpm submissions in any 60 s."""

    def __init__(self, redis: async_redis.Redis) -> None:
        # The URL is not used: the connection pool is ours.
        storage = RedisStorage(
            "redis://",
            implementation="redispy",
            key_prefix=keys.RATE_LIMIT_PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # typed too narrowly
        )
        self._window = MovingWindowRateLimiter(storage)

    async def hit(self, key: Key) -> RateWindow | None:
        """Count a submission. None for an API key without a limit. Raises RateLimited (429)."""
        if key.rpm is None:
            return None
        bound = RateLimitItemPerMinute(key.rpm)
        allowed = await self._window.hit(bound, key.id)
        stats = await self._window.get_window_stats(bound, key.id)
        window = RateWindow(max(0, stats.remaining), stats.reset_time)
        if not allowed:
            wait_s = max(1, math.ceil(stats.reset_time - time.time()))
            raise RateLimited(
                f"Rate limit exceeded: at most {key.rpm} requests a minute with this key. "
                f"Please try again in {wait_s} s",
                {"retry-after": str(wait_s), **window.headers},
            )
        return window

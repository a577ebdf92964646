"""Blobs in Redis, beside the records."""

from __future__ import annotations

from typing import cast

from redis import Redis

from app.core.redis import keys


class RedisBlobs:
    """Blobs in the Redis of the records: no other service needed; for some hundred pictures."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        self._redis.set(keys.blob(name), data, exat=int(expires_at))

    def get(self, name: str) -> bytes | None:
        data = self._redis.get(keys.blob(name))
        return data if isinstance(data, bytes) else None

    def delete(self, *names: str) -> None:
        if names:
            self._redis.delete(*(keys.blob(name) for name in names))

    def sweep(self) -> int:
        """Nothing to do: Redis expires keys itself."""
        return 0

    def free_bytes(self) -> int | None:
        memory = cast(dict[str, int], self._redis.info("memory"))
        limit = memory.get("maxmemory")
        return max(0, limit - memory["used_memory"]) if limit else None

"""Bytes by name with an expiry: control pictures on their way in, pixels between the jobs,
finished files on their way out. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

from typing import Protocol

from redis import Redis


class Blobs(Protocol):
    def put(self, name: str, data: bytes, expires_at: float) -> None:
        """Store `data`; it is gone at `expires_at` (Unix seconds)."""

    def get(self, name: str) -> bytes | None:
        """The bytes, or None when they were never there or have expired."""

    def delete(self, *names: str) -> None:
        """Forget them now; unknown names are no error."""


class RedisBlobs:
    """Blobs beside the records in Redis: nothing else to run, fine to some hundred pictures."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        self._redis.set(f"blob:{name}", data, exat=int(expires_at))

    def get(self, name: str) -> bytes | None:
        data = self._redis.get(f"blob:{name}")
        return data if isinstance(data, bytes) else None

    def delete(self, *names: str) -> None:
        if names:
            self._redis.delete(*(f"blob:{name}" for name in names))

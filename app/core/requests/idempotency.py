"""Idempotency keys: which request a key was used for.

A key belongs to an owner, is bound to one body, and lives as long as its request. The Lua script
that writes the record also settles the key (app/core/lua/transitions/submit.lua), so both happen or
neither does, and a key whose submission is slow or dead can be taken over at any time. Knows no
HTTP; submits nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from redis import Redis

from app.core.lua import script
from app.core.redis.keys import idempotency_key
from app.core.requests.store import IdempotencyGuard


@dataclass(frozen=True, slots=True)
class Use:
    """The submission that uses a key. digest: of the body. settled: the request was accepted;
    before that its submission may still fail."""

    digest: str
    request_id: str
    settled: bool = False

    def __str__(self) -> str:
        return f"{self.digest} {self.request_id} {int(self.settled)}"


class IdempotencyKeys:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(script("requests/take_idempotency_key"))
        self._release = redis.register_script(script("requests/release_idempotency_key"))

    def take(self, owner: str, key: str, use: Use, expires_at: float) -> Use | None:
        """Reserve the key until expires_at (Unix seconds). None, or the use that it has already."""
        current = self._take(keys=[_name(owner, key)], args=[str(use), int(expires_at)])
        if current is None:
            return None
        digest, request_id, settled = current.decode().split()
        return Use(digest, request_id, settled == "1")

    def guard(self, owner: str, key: str, use: Use) -> IdempotencyGuard:
        """The condition that this use still has the key; the submission settles it atomically."""
        return IdempotencyGuard(_name(owner, key), str(use), str(replace(use, settled=True)))

    def release(self, owner: str, key: str, use: Use) -> None:
        """Free the key of a request that does not exist, unless another use has taken it over."""
        for own_use in (use, replace(use, settled=True)):
            self._release(keys=[_name(owner, key)], args=[str(own_use)])


def _name(owner: str, key: str) -> str:
    """The Redis key. Hashed, so its length does not depend on what a client sends."""
    return idempotency_key(hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest())

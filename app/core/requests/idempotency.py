"""Which request an Idempotency-Key stands for. A key belongs to an owner, is bound to one body, and
lives as long as its request. It is settled by the very call that writes the record
(app/core/lua/transitions/submit.lua), so there is one exactly when there is the other, and a key
whose user is slow or dead can be taken over at any time. Knows no HTTP and does not submit.
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
    """What a key is used for. digest: of the body. settled: the request was accepted; until then
    its submission may still fail."""

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
        """Use the key for this, until expires_at (Unix seconds), or say what it is in use for."""
        held = self._take(keys=[_name(owner, key)], args=[str(use), int(expires_at)])
        if held is None:
            return None
        digest, request_id, settled = held.decode().split()
        return Use(digest, request_id, settled == "1")

    def guard(self, owner: str, key: str, use: Use) -> IdempotencyGuard:
        """With which the request of this use is submitted if the key is still this use's, and
        which settles it in the same moment."""
        return IdempotencyGuard(_name(owner, key), str(use), str(replace(use, settled=True)))

    def release(self, owner: str, key: str, use: Use) -> None:
        """There is no such request: let the key be used again, unless somebody does already."""
        for held in (use, replace(use, settled=True)):
            self._release(keys=[_name(owner, key)], args=[str(held)])


def _name(owner: str, key: str) -> str:
    """Of a fixed length, whatever a client sends."""
    return idempotency_key(hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest())

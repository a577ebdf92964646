"""Which request an Idempotency-Key stands for. A key belongs to an owner, is bound to one body, and
lives as long as its request. It is settled by the very call that writes the record
(app/core/requests/scripts.py), so there is one exactly when there is the other, and a key whose
user is slow or dead can be taken over at any time. Knows no HTTP and does not submit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from redis import Redis

from app.core.requests.store import Hold

# KEYS[1] = the key; ARGV = what it is to hold, when it expires. Returns what it holds already.
_TAKE = """
local held = redis.call('GET', KEYS[1])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2]) end
return held
"""

# ARGV[1] = what it holds if nobody has taken it over.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


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
        self._take = redis.register_script(_TAKE)
        self._release = redis.register_script(_RELEASE)

    def take(self, owner: str, key: str, use: Use, expires_at: float) -> Use | None:
        """Use the key for this, until expires_at (Unix seconds), or say what it is in use for."""
        held = self._take(keys=[_name(owner, key)], args=[str(use), int(expires_at)])
        if held is None:
            return None
        digest, request_id, settled = held.decode().split()
        return Use(digest, request_id, settled == "1")

    def hold(self, owner: str, key: str, use: Use) -> Hold:
        """With which the request of this use is submitted if the key is still this use's, and
        which settles it in the same moment."""
        return Hold(_name(owner, key), str(use), str(replace(use, settled=True)))

    def release(self, owner: str, key: str, use: Use) -> None:
        """There is no such request: let the key be used again, unless somebody does already."""
        for held in (use, replace(use, settled=True)):
            self._release(keys=[_name(owner, key)], args=[str(held)])


def _name(owner: str, key: str) -> str:
    """Of a fixed length, whatever a client sends."""
    return "idempotency:" + hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()

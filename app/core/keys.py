"""API keys: mint, store, verify, revoke. Redis holds only the SHA-256 of a key; keys carry 128
random bits, so a fast hash is enough. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from typing import cast

from redis import Redis

_BY_HASH = "keys"  # sha256 of the secret -> the key as JSON
_ID_LENGTH = 12
_NAME = re.compile(r"[\w.@ -]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A live key. `name` is its owner: keys of one name see each other's requests."""

    id: str
    name: str
    created_at: float


def mint() -> str:
    """A new secret, in the hosted service's own form."""
    return f"SG_{secrets.token_hex(16)}"


class KeyStore:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, secret: str, name: str) -> Key:
        """Make `secret` valid. Adding it again changes nothing but the name.

        Raises ValueError for a name that is empty, long or not printable on one line.
        """
        if not _NAME.fullmatch(name):
            raise ValueError("a name has 1 to 64 letters, digits, spaces or any of . _ @ -")
        digest = _digest(secret)
        key = Key(id=digest[:_ID_LENGTH], name=name, created_at=time.time())
        self._redis.hset(_BY_HASH, digest, json.dumps(asdict(key)))
        return key

    def verify(self, secret: str) -> Key | None:
        """The key that `secret` is, or None. Looking up a hash leaks no timing about the secret."""
        raw = self._redis.hget(_BY_HASH, _digest(secret))
        return Key(**json.loads(raw)) if isinstance(raw, bytes) else None

    def all(self) -> list[Key]:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(_BY_HASH))
        keys = [Key(**json.loads(value)) for value in raw.values()]
        return sorted(keys, key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> bool:
        """Make the key with this id invalid at once. False: there is none."""
        known = cast(list[bytes], self._redis.hkeys(_BY_HASH))
        digests = [digest for digest in known if digest.decode()[:_ID_LENGTH] == key_id]
        return bool(digests) and bool(self._redis.hdel(_BY_HASH, *digests))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

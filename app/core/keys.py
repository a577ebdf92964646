"""API keys: mint, store, revoke. Redis holds only the SHA-256 of a key; keys carry 128 random bits,
so a fast hash is enough. Knows nothing of HTTP; the api looks keys up in app.core.reading.
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

BY_DIGEST = "keys"
"""Hash in Redis: SHA-256 of a secret -> its key as JSON."""

_ID_LENGTH = 12
_NAME = re.compile(r"[\w.@ -]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A live key. `name` is its owner: keys of one name see each other's requests."""

    id: str
    name: str
    created_at: float

    @classmethod
    def from_json(cls, text: str | bytes) -> Key:
        return cls(**json.loads(text))


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
        hashed = digest(secret)
        key = Key(id=hashed[:_ID_LENGTH], name=name, created_at=time.time())
        self._redis.hset(BY_DIGEST, hashed, json.dumps(asdict(key)))
        return key

    def all(self) -> list[Key]:
        raw = cast(dict[bytes, bytes], self._redis.hgetall(BY_DIGEST))
        keys = [Key.from_json(value) for value in raw.values()]
        return sorted(keys, key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> bool:
        """Make the key with this id invalid at once. False: there is none."""
        known = cast(list[bytes], self._redis.hkeys(BY_DIGEST))
        named = [hashed for hashed in known if hashed.decode()[:_ID_LENGTH] == key_id]
        return bool(named) and bool(self._redis.hdel(BY_DIGEST, *named))


def digest(secret: str) -> str:
    """What Redis knows a secret by."""
    return hashlib.sha256(secret.encode()).hexdigest()

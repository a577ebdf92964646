"""Signed links to finished files: a client opens them without a key, and cannot make one up.

Owns the signature and nothing else; where files live and what host a link names is decided by
others.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from redis import Redis

_SECRET_KEY = "secret:links"


class LinkSigner:
    """All processes on one Redis share one random secret, so any of them can check a link."""

    def __init__(self, redis: Redis) -> None:
        redis.set(_SECRET_KEY, secrets.token_bytes(32), nx=True)
        secret = redis.get(_SECRET_KEY)
        assert isinstance(secret, bytes)
        self._secret = secret

    def sign(self, path: str, expires_at: int) -> str:
        """`path` with its expiry (Unix seconds) and signature as a query."""
        return f"{path}?exp={expires_at}&sig={self._signature(path, expires_at)}"

    def valid(self, path: str, expires_at: str, signature: str) -> bool:
        """True when we signed exactly this path and expiry and the time has not come."""
        if not expires_at.isascii() or not expires_at.isdigit() or len(expires_at) > 12:
            return False
        expected = self._signature(path, int(expires_at))
        genuine = hmac.compare_digest(expected.encode(), signature.encode())
        return genuine and time.time() < int(expires_at)

    def _signature(self, path: str, expires_at: int) -> str:
        message = f"{path}\n{expires_at}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]

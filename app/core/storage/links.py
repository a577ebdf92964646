"""Signed links to finished files and uploads: valid without an API key, and not forgeable.

Owns the path and the signature of a link. Does not know the origin of links or the blob store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from urllib.parse import parse_qs, urlsplit

from redis import Redis

from app.core.redis import keys

_OUTPUT_PATH = re.compile(
    r"/files/(?P<request_id>[0-9a-f]{32})/(?P<name>[0-9]|map(-[0-9])?)\.[a-z]+$"
)
_UPLOAD_PATH = re.compile(r"/uploads/(?P<sha256>[0-9a-f]{64})\.[a-z]+$")


def output_path(request_id: str, file_name: str) -> str:
    """The path of a finished picture or of a control map; the stem of the file name is the index of
    the picture, or app.core.redis.keys.map_name."""
    return f"/files/{request_id}/{file_name}"


def upload_path(sha256: str, kind: str) -> str:
    """The path of an uploaded picture."""
    return f"/uploads/{sha256}.{kind}"


def shared_secret(redis: Redis, name: str) -> bytes:
    """The random secret of this name that all processes on one Redis share; created if missing."""
    redis.set(name, secrets.token_bytes(32), nx=True)
    secret = redis.get(name)
    assert isinstance(secret, bytes)
    return secret


class LinkSigner:
    """All processes on one Redis share a random secret, so any of them can check a link."""

    def __init__(self, redis: Redis) -> None:
        self._secret = shared_secret(redis, keys.LINK_SIGNING_KEY)

    def sign(self, path: str, expires_at: int) -> str:
        """`path` with its expiry (Unix seconds) and signature as a query."""
        return f"{path}?exp={expires_at}&sig={self._signature(path, expires_at)}"

    def valid(self, path: str, expires_at: str, signature: str) -> bool:
        """True if the signature fits this path and expiry, and the expiry is in the future."""
        if not expires_at.isascii() or not expires_at.isdigit() or len(expires_at) > 12:
            return False
        expected = self._signature(path, int(expires_at))
        genuine = hmac.compare_digest(expected.encode(), signature.encode())
        return genuine and time.time() < int(expires_at)

    def own_output(self, url: str) -> tuple[str, str] | None:
        """(request id, stem of the file name) if `url` is a valid link to an output, on any host.

        The valid signature proves that it is ours, so no download is needed.
        """
        path = self._own(url, _OUTPUT_PATH)
        return (path["request_id"], path["name"]) if path is not None else None

    def own_upload(self, url: str) -> str | None:
        """The SHA-256 of an uploaded picture if `url` is a valid link to one, on any host."""
        path = self._own(url, _UPLOAD_PATH)
        return path["sha256"] if path is not None else None

    def _own(self, url: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        path = pattern.search(parts.path)
        query = parse_qs(parts.query)
        expires_at, signature = (query.get(name, [""])[0] for name in ("exp", "sig"))
        if path is None or not self.valid(path.group(), expires_at, signature):
            return None
        return path

    def _signature(self, path: str, expires_at: int) -> str:
        message = f"{path}\n{expires_at}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]

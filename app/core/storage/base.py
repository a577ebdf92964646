"""The blob store: the protocol Blobs (bytes by name, with an expiry), and RedisBlobs.

Blobs are control pictures, pixels between jobs, and finished files; the store does not know which.
BLOB_URL selects RedisBlobs, DirectoryBlobs (directory.py) or S3Blobs (s3.py) in open_blobs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from redis import Redis

from app.core.redis import keys


class Blobs(Protocol):
    """A failing store raises RedisError or BlobsUnavailable; it never looks like a miss."""

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        """Store `data` until `expires_at` (Unix seconds). Atomic: a concurrent reader gets the old
        or the new bytes."""

    def get(self, name: str) -> bytes | None:
        """The bytes; None if unknown or expired."""

    def delete(self, *names: str) -> None:
        """Delete blobs; unknown names are no error."""

    def sweep(self) -> int:
        """Remove expired blobs; returns their number. Any process calls it periodically."""


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


def open_blobs(url: str, redis: Redis) -> Blobs:
    """The store of a BLOB_URL that check_blob_url accepts.

    Raises ValueError if the folder cannot be created or a library is missing.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from app.core.storage.directory import DirectoryBlobs

        return DirectoryBlobs(Path(parts.path))
    if parts.scheme == "s3":
        try:
            from app.core.storage.s3 import S3Blobs
        except ModuleNotFoundError as error:
            raise ValueError(
                f"BLOB_URL names S3, which needs {error.name}; install the extra s3"
            ) from None
        return S3Blobs(parts.netloc, parts.path.strip("/"), redis)
    return RedisBlobs(redis)


def check_blob_url(url: str) -> str:
    """`url` if it has one of the three forms. Raises ValueError that lists them."""
    parts = urlsplit(url)
    plain = not (parts.query or parts.fragment)
    in_folder = parts.scheme == "file" and not parts.netloc and len(parts.path) > 1
    in_bucket = parts.scheme == "s3" and bool(parts.netloc)
    if url == "redis" or (plain and (in_folder or in_bucket)):
        return url
    raise ValueError("must be redis, file:///FOLDER or s3://BUCKET/PREFIX")

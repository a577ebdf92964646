"""Bytes by name with an expiry: control pictures on their way in, pixels between the jobs,
finished files on their way out. Knows nothing of what the bytes mean.

One Protocol and three stores behind it; BLOB_URL says which (open_blobs). RedisBlobs is here, the
others in directory_blobs.py and s3_blobs.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from redis import Redis

from app.core.redis import keys


class Blobs(Protocol):
    """Errors of the store itself are RedisError or BlobsUnavailable, never a miss."""

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        """Store `data`; it is gone at `expires_at` (Unix seconds). Whoever reads meanwhile sees
        the old bytes or the new ones, never a part."""

    def get(self, name: str) -> bytes | None:
        """The bytes, or None when they were never there or have expired."""

    def delete(self, *names: str) -> None:
        """Forget them now; unknown names are no error."""

    def sweep(self) -> int:
        """Remove what has expired; how many. To be called now and then, by any process."""


class RedisBlobs:
    """Blobs beside the records in Redis: nothing else to run, fine to some hundred pictures."""

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
        """Nothing to do: Redis forgets by itself."""
        return 0


def open_blobs(url: str, redis: Redis) -> Blobs:
    """The store that BLOB_URL (checked by check_blob_url) names.

    Raises ValueError when it cannot be one: no folder can be made there, a library is missing.
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
    """`url` when it has one of the three forms; ValueError with all of them otherwise."""
    parts = urlsplit(url)
    plain = not (parts.query or parts.fragment)
    in_folder = parts.scheme == "file" and not parts.netloc and len(parts.path) > 1
    in_bucket = parts.scheme == "s3" and bool(parts.netloc)
    if url == "redis" or (plain and (in_folder or in_bucket)):
        return url
    raise ValueError("must be redis, file:///FOLDER or s3://BUCKET/PREFIX")

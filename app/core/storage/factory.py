"""Opens the blob store that BLOB_URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from app.core.storage.base import Blobs
from app.core.storage.redis import RedisBlobs


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

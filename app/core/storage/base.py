"""The protocol of blob stores: bytes by name with an expiry. It does not know what the bytes mean.

Control pictures on their way in, pixels between the jobs, finished files on their way out. The
stores are in redis.py, directory.py and s3.py; factory.py opens the one that BLOB_URL names.
"""

from __future__ import annotations

from typing import Protocol


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
        """Remove expired blobs; returns their number. Any process calls it periodically. May stop
        before the last one; the next call then goes on there."""

    def free_bytes(self) -> int | None:
        """Bytes that the store can still take; None if it has no limit, or none that is known."""

"""Uploaded pictures: which bytes are one, who pays for the room, and how long they live.

The bytes are blobs named by their SHA-256, so that the same picture is stored once, whoever sends
it. An owner pays for each picture it has uploaded and that has not expired, once. Knows no HTTP,
and decodes nothing: only the first bytes of a picture are read.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from app.core.errors import QuotaExceeded
from app.core.images.file_kinds import picture_kind
from app.core.lua import script
from app.core.redis.keys import upload_blob, upload_expiries, upload_sizes
from app.core.storage.base import Blobs

KINDS = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
}
"""What may be uploaded, which is what app.core.images.decode reads: kind -> content type."""


@dataclass(frozen=True, slots=True)
class Upload:
    """kind: a key of KINDS."""

    sha256: str
    kind: str
    data: bytes


def picture_of(data: bytes) -> Upload | None:
    """None when the bytes do not begin as a picture of a known kind does."""
    kind = picture_kind(data)
    return None if kind is None else Upload(hashlib.sha256(data).hexdigest(), kind, data)


class Uploads:
    def __init__(self, redis: Redis, blobs: Blobs, ttl_s: int, quota_bytes: int) -> None:
        self._blobs = blobs
        self._ttl_s = ttl_s
        self._quota_bytes = quota_bytes
        self._admit = redis.register_script(script("storage/admit_uploads"))

    def store(self, owner: str, uploads: Sequence[Upload]) -> int:
        """Keep all of them; says until when (Unix seconds). One that is there lives longer.

        Raises QuotaExceeded, and then keeps none. Room that was taken for a picture whose storing
        failed is given back when it would have expired.
        """
        now = time.time()
        expires_at = int(now) + self._ttl_s
        sizes = {upload.sha256: len(upload.data) for upload in uploads}
        flat = [str(part) for pair in sizes.items() for part in pair]
        would_be = self._admit(
            keys=[upload_expiries(owner), upload_sizes(owner)],
            args=[repr(now), expires_at, self._quota_bytes, *flat],
        )
        if would_be >= 0:
            raise QuotaExceeded(
                f"data_urls: with these your uploads would hold {would_be} bytes; at most "
                f"{self._quota_bytes} are allowed, and each lives {self._ttl_s} s"
            )
        for upload in {upload.sha256: upload for upload in uploads}.values():
            self._blobs.put(upload_blob(upload.sha256), upload.data, expires_at)
        return expires_at

"""Uploaded pictures: accepted kinds, quota of an owner, expiry.

The blobs are named by their SHA-256, so the same picture is stored once for all owners. Each
unexpired picture counts once against the quota of every owner that uploaded it. Knows no HTTP, and
decodes nothing: it reads only the first bytes of a picture.
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
"""Accepted kinds, the ones that app.core.images.decode reads: kind -> content type."""


@dataclass(frozen=True, slots=True)
class Upload:
    """kind: a key of KINDS."""

    sha256: str
    kind: str
    data: bytes


def picture_of(data: bytes) -> Upload | None:
    """The upload of these bytes; None if they do not begin like a picture of a known kind."""
    kind = picture_kind(data)
    return None if kind is None else Upload(hashlib.sha256(data).hexdigest(), kind, data)


class Uploads:
    def __init__(self, redis: Redis, blobs: Blobs, ttl_s: int, quota_bytes: int) -> None:
        self._blobs = blobs
        self._ttl_s = ttl_s
        self._quota_bytes = quota_bytes
        self._admit = redis.register_script(script("storage/admit_uploads"))

    def store(self, owner: str, uploads: Sequence[Upload]) -> int:
        """Store all uploads. Returns their expiry (Unix seconds), which a stored one gets too.

        Raises QuotaExceeded, and then stores none. If a write fails, the picture counts against the
        quota until its expiry.
        """
        now = time.time()
        expires_at = int(now) + self._ttl_s
        sizes = {upload.sha256: len(upload.data) for upload in uploads}
        flat = [str(part) for pair in sizes.items() for part in pair]
        total = self._admit(
            keys=[upload_expiries(owner), upload_sizes(owner)],
            args=[repr(now), expires_at, self._quota_bytes, *flat],
        )
        if total >= 0:
            raise QuotaExceeded(
                f"data_urls: with these your uploads would hold {total} bytes; at most "
                f"{self._quota_bytes} are allowed, and each lives {self._ttl_s} s"
            )
        for upload in {upload.sha256: upload for upload in uploads}.values():
            self._blobs.put(upload_blob(upload.sha256), upload.data, expires_at)
        return expires_at

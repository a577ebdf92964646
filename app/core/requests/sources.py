"""Bytes of the pictures that came with requests and still wait to be prepared, by owner.

Counted from before they are stored until their request has been prepared or has ended, which the
scripts of those changes do (app/core/lua/fragments/sources.lua). The sum is kept beside the
entries; when it would be too large, the records decide: an entry whose request has expired, was
lost or is further on does not count. Stores no picture.
"""

from __future__ import annotations

import time

from redis import Redis

from app.core.errors import QuotaExceeded, RateLimited
from app.core.lua import script
from app.core.redis import keys

_RETRY_AFTER_S = 5
"""Preparing takes milliseconds once its turn has come; what holds a turn up takes seconds."""


class Sources:
    def __init__(self, redis: Redis, quota_bytes: int, submission_s: float = 60) -> None:
        """submission_s: how long a picture may be stored before its record is made."""
        self._quota_bytes = quota_bytes
        self._submission_s = submission_s
        self._hold = redis.register_script(script("requests/hold_source"))
        self._release = redis.register_script(script("requests/release_source"))

    def hold(self, owner: str, request_id: str, size: int, expires_at: float) -> None:
        """Count the picture of a request that is about to be submitted, of `size` bytes.

        Raises RateLimited (429) when the owner would have too much, QuotaExceeded (413) when this
        one alone is more than an owner may have.
        """
        if size > self._quota_bytes:
            raise QuotaExceeded(
                f"image: {size} bytes; at most {self._quota_bytes} may be sent with a request here"
            )
        would_be = self._hold(
            keys=[keys.sources(owner)],
            args=[
                repr(time.time()),
                *(int(expires_at), self._quota_bytes, request_id, size, self._submission_s),
            ],
        )
        if would_be >= 0:
            raise RateLimited(
                f"The pictures of your waiting requests would hold {would_be} bytes with this one; "
                f"at most {self._quota_bytes} are allowed. Please try again in {_RETRY_AFTER_S} s",
                {"retry-after": str(_RETRY_AFTER_S)},
            )

    def release(self, owner: str, request_id: str) -> None:
        """Of a request that was not made after all."""
        self._release(args=[owner, request_id])

"""The quota of picture bytes that wait to be prepared, by owner.

The pictures of a request count from before they are stored until it has been prepared or has ended;
the Lua scripts of those transitions release them (app/core/lua/fragments/sources.lua). The sum is
stored beside the entries. When it would exceed the quota, entries are checked against the records:
those whose requests have expired, were lost or are at a later stage are dropped. Stores no picture.
"""

from __future__ import annotations

import time

from redis import Redis

from app.core.errors import QuotaExceeded, RateLimited
from app.core.lua import script
from app.core.redis import keys

_RETRY_AFTER_S = 5
"""PREPARE takes milliseconds; what delays it takes seconds."""


class Sources:
    def __init__(self, redis: Redis, quota_bytes: int, submission_s: float = 60) -> None:
        """submission_s: the longest time between storing a picture and writing its record."""
        self._quota_bytes = quota_bytes
        self._submission_s = submission_s
        self._hold = redis.register_script(script("requests/hold_source"))
        self._release = redis.register_script(script("requests/release_source"))

    def hold(
        self, owner: str, request_id: str, size: int, expires_at: float, field: str = "image"
    ) -> None:
        """Count the pictures, `size` bytes in all, of a request that is about to be submitted.
        field: the parameter that holds them.

        Raises RateLimited (429) when the sum of the owner would exceed the quota, QuotaExceeded
        (413) when these pictures alone do.
        """
        if size > self._quota_bytes:
            raise QuotaExceeded(
                f"{field}: {size} bytes; at most {self._quota_bytes} may be sent with a request "
                "here"
            )
        total = self._hold(
            keys=[keys.sources(owner)],
            args=[
                repr(time.time()),
                *(int(expires_at), self._quota_bytes, request_id, size, self._submission_s),
            ],
        )
        if total >= 0:
            raise RateLimited(
                f"The pictures of your waiting requests would hold {total} bytes with this one; "
                f"at most {self._quota_bytes} are allowed. Please try again in {_RETRY_AFTER_S} s",
                {"retry-after": str(_RETRY_AFTER_S)},
            )

    def release(self, owner: str, request_id: str) -> None:
        """Stop counting the pictures of a submission that failed."""
        self._release(args=[owner, request_id])

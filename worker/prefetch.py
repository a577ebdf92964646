"""Prefetches the control picture of the next request while the device works on the current one.

It reads only: it takes no job and makes no claim. The next job claims its request as usual and gets
the picture here; if another request's picture was prefetched, it is read from the store. A control
picture is stored before its job is queued and never changes, so a prefetched one is never stale.
"""

from __future__ import annotations

import logging

from redis.exceptions import RedisError

from app.core.errors import BlobsUnavailable
from app.core.queueing.jobs import Jobs
from app.core.redis import keys
from app.core.storage.base import Blobs

log = logging.getLogger(__name__)


class Prefetch:
    """Holds at most one control picture. load_next() and control_picture() may run concurrently;
    two calls of load_next() may not."""

    def __init__(self, blobs: Blobs, jobs: Jobs) -> None:
        self._blobs = blobs
        self._jobs = jobs
        self._prefetched: tuple[str, bytes] | None = None

    def load_next(self) -> None:
        """Load the control picture of the request at the head of the gpu queue, and drop the one
        held before. Raises nothing: control_picture() raises when it reads the store itself."""
        self._prefetched = None
        try:
            request_id = self._jobs.next_generation()
            if request_id is not None and (data := self._load(request_id)) is not None:
                self._prefetched = request_id, data
        except (RedisError, BlobsUnavailable):
            log.debug("the next control picture was not prefetched", exc_info=True)

    def control_picture(self, request_id: str) -> bytes | None:
        """The control picture of a request, raw RGB; None when it is lost."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and prefetched[0] == request_id:
            return prefetched[1]
        return self._load(request_id)

    def _load(self, request_id: str) -> bytes | None:
        return self._blobs.get(keys.control_blob(request_id))

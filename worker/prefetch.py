"""Prefetches the control pictures of the next request while the device works on the current one.

It reads only: it takes no job and makes no claim. The next job claims its request as usual and gets
the pictures here; if those of another request were prefetched, they are read from the store.
Control pictures are stored before their job is queued and never change, so prefetched ones are
never stale.
"""

from __future__ import annotations

import logging

from redis.exceptions import RedisError

from app.core.errors import BlobsUnavailable
from app.core.queueing.jobs import Jobs
from app.core.redis import keys
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs

log = logging.getLogger(__name__)


class Prefetch:
    """Holds the control pictures of at most one request. load_next() and control_pictures() may run
    concurrently; two calls of load_next() may not."""

    def __init__(self, requests: RequestStore, blobs: Blobs, jobs: Jobs) -> None:
        self._requests = requests
        self._blobs = blobs
        self._jobs = jobs
        self._prefetched: tuple[str, list[bytes]] | None = None

    def load_next(self) -> None:
        """Load the control pictures of the request at the head of the gpu queue, and drop those
        held before. Raises nothing: control_pictures() raises when it reads the store itself."""
        self._prefetched = None
        try:
            request_id = self._jobs.next_generation()
            record = None if request_id is None else self._requests.get(request_id)
            if record is None:
                return
            pictures = self._load(record.id, len(record.params.all_controls))
            if pictures is not None:
                self._prefetched = record.id, pictures
        except (RedisError, BlobsUnavailable):
            log.debug("the next control pictures were not prefetched", exc_info=True)

    def control_pictures(self, request_id: str, controls: int) -> list[bytes] | None:
        """The control pictures of a request with this number of controls, raw RGB; None when one is
        lost."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and prefetched[0] == request_id:
            return prefetched[1]
        return self._load(request_id, controls)

    def _load(self, request_id: str, controls: int) -> list[bytes] | None:
        pictures = []
        for control in range(controls):
            picture = self._blobs.get(keys.control_blob(request_id, control))
            if picture is None:
                return None
            pictures.append(picture)
        return pictures

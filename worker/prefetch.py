"""The control picture that the next request will need, read while the device makes another one.

Only looks: takes no job and promises nothing. Who is given the job claims it as ever and asks here
for the bytes; what was read for another request is forgotten and the store is asked. A control
picture is written before its job is queued and does not change, so what was read cannot be stale.
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
    """Holds at most one control picture. read() may run beside get(), not beside itself."""

    def __init__(self, blobs: Blobs, jobs: Jobs) -> None:
        self._blobs = blobs
        self._jobs = jobs
        self._kept: tuple[str, bytes] | None = None

    def read(self) -> None:
        """Keep what the request at the head of the gpu queue will ask for, instead of what was
        kept before. Raises nothing: whoever needs it meets the error itself."""
        self._kept = None
        try:
            request_id = self._jobs.next_generation()
            if request_id is not None and (data := self._load(request_id)) is not None:
                self._kept = request_id, data
        except (RedisError, BlobsUnavailable):
            log.debug("nothing was read ahead", exc_info=True)

    def control(self, request_id: str) -> bytes | None:
        """The control picture of a request; None when it is lost."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == request_id:
            return kept[1]
        return self._load(request_id)

    def _load(self, request_id: str) -> bytes | None:
        return self._blobs.get(keys.control_blob(request_id))

"""Expiry: fails requests shortly before their records expire, so that waiting clients get a
response, the history records the request, and workers stop working on it.
"""

from __future__ import annotations

import logging

from app.core.errors import BlobsUnavailable, Expired
from app.core.lifecycle.background_jobs import BackgroundJobs
from app.core.lifecycle.cancellation import cancel
from app.core.queueing.jobs import Jobs
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs

log = logging.getLogger(__name__)


def fail_expiring(
    requests: RequestStore, jobs: Jobs, blobs: Blobs, background_jobs: BackgroundJobs
) -> None:
    """Fail every unfinished request that is about to expire."""
    for request_id in requests.expiring():
        try:
            cancel(requests, jobs, blobs, background_jobs, request_id, Expired())
        except BlobsUnavailable as error:  # it has ended; its blobs expire by themselves
            log.warning("request %s: %s", request_id, error)

"""The end of requests that were not made in time: FAILED shortly before their records expire, so
that who waits for them is told, their history is kept and no worker goes on with them.
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


def end_expiring(
    requests: RequestStore, jobs: Jobs, blobs: Blobs, background_jobs: BackgroundJobs
) -> None:
    """End every request whose time is nearly over."""
    for request_id in requests.expiring():
        try:
            cancel(requests, jobs, blobs, background_jobs, request_id, Expired())
        except BlobsUnavailable as error:  # it has ended; its bytes expire by themselves
            log.warning("request %s: %s", request_id, error)

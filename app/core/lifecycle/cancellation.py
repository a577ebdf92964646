"""Cancellation: ends a request that its owner cancelled or that is about to expire.

Fails the record, requests the notification and removes the jobs from their queues. A running job is
not signalled. Its next write fails, because it may write only to an unfinished request
(app/core/lua/transitions). So a late cancellation cannot hit another request.
"""

from __future__ import annotations

from app.core.errors import RequestFailed
from app.core.lifecycle.background_jobs import BackgroundJob, BackgroundJobs
from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.queueing.jobs import Jobs
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs


def cancel(
    requests: RequestStore,
    jobs: Jobs,
    blobs: Blobs,
    background_jobs: BackgroundJobs,
    request_id: str,
    reason: RequestFailed,
    only_queued: bool = False,
) -> bool:
    """Fail a request with this reason. False if it has ended, or if only_queued and it started."""
    if not requests.fail(request_id, reason, only_queued=only_queued):
        return False
    background_jobs.request(BackgroundJob.NOTIFY)
    jobs.dequeue(request_id)
    delete_temporary_blobs(requests, blobs, request_id)
    return True

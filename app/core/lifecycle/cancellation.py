"""The end of a request that nobody wants any more: its owner, or because its time is over.

Ends the record, calls for the telling of its end and takes its jobs off the queues. A job that a
worker has in hand is told nothing: it finds out by itself at its next step, since it may write only
to a request that has not ended (app/core/lua/transitions). So a cancellation that comes late
can hit no other request.
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
    """End it for this reason. False: it has ended already, or only_queued and it has begun."""
    if not requests.fail(request_id, reason, only_queued=only_queued):
        return False
    background_jobs.call(BackgroundJob.NOTIFY)
    jobs.withdraw(request_id)
    delete_temporary_blobs(requests, blobs, request_id)
    return True

"""The end of a request that its owner does not want any more.

Ends the record and takes its jobs off the queues. A job that a worker has in hand is told nothing:
it finds out by itself at its next step, since it may write only to a request that has not ended
(app/core/scripts.py). So a cancellation that comes late can hit no other request.
"""

from __future__ import annotations

from app.core.blobs import Blobs
from app.core.errors import Cancelled
from app.core.leftovers import drop_leftovers
from app.core.queue import Jobs
from app.core.requests import RequestStore


def cancel(
    requests: RequestStore,
    jobs: Jobs,
    blobs: Blobs,
    request_id: str,
    reason: Cancelled,
    only_queued: bool = False,
) -> bool:
    """End it for this reason. False: it has ended already, or only_queued and it has begun."""
    if not requests.fail(request_id, reason, only_queued=only_queued):
        return False
    jobs.withdraw(request_id)
    drop_leftovers(requests, blobs, request_id)
    return True

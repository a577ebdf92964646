"""Recovery of orphaned requests: unfinished ones without a queued, running or deferred job.

RQ's data and the records are separate. A power loss, a fail-over, or a process that dies between
the two writes can leave a record without a job, and its client would wait until it expires.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.core.errors import GenerationFailed
from app.core.queueing.jobs import Jobs
from app.core.requests.record import Stage
from app.core.requests.store import RequestStore

log = logging.getLogger(__name__)


def recover_orphans(requests: RequestStore, jobs: Jobs, pause: Callable[[], object]) -> None:
    """Re-queue each orphaned request, or fail it if RQ has used up its retries.

    pause: called between two checks. A job that moves between queues looks orphaned, but not for
    that long.
    """
    suspects = _without_job(requests, jobs)
    if not suspects:
        return
    pause()
    for request_id, stage in suspects & _without_job(requests, jobs):
        if jobs.retries_exhausted(request_id, stage):
            log.error("request %s: %s has no retries left; it fails", request_id, stage.name)
            requests.fail(request_id, GenerationFailed("Internal error: the request was given up"))
        else:
            log.warning("request %s: no job for %s; queued again", request_id, stage.name)
            jobs.requeue(request_id, stage)


def _without_job(requests: RequestStore, jobs: Jobs) -> set[tuple[str, Stage]]:
    # Read the jobs second: a request that advances in between is one stage further there, and is
    # a suspect only until the next check.
    unfinished = set(requests.unfinished().items())
    return unfinished - jobs.carried_stages() if unfinished else set()

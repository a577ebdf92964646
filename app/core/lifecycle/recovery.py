"""Requests that nobody carries: unfinished, and no job waits, runs or is put off for them.

RQ's books and the records are two things. A Redis that lost its last second with the power, a
fail-over, a process that died between writing the one and the other can leave a record without a
job, and its client would wait until it expires.
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
    """Give each stray a job again, or FAIL it when RQ had given it up.

    pause: called between two looks; what is on its way from one place to the next is not a stray,
    and nothing is on its way for that long.
    """
    suspects = _uncarried(requests, jobs)
    if not suspects:
        return
    pause()
    for request_id, stage in suspects & _uncarried(requests, jobs):
        if jobs.given_up(request_id, stage):
            log.error("request %s: %s was given up; it fails", request_id, stage.name)
            requests.fail(request_id, GenerationFailed("Internal error: the request was given up"))
        else:
            log.warning("request %s: nobody carried %s; it waits again", request_id, stage.name)
            jobs.enqueue_again(request_id, stage)


def _uncarried(requests: RequestStore, jobs: Jobs) -> set[tuple[str, Stage]]:
    # The jobs second: a request that goes on meanwhile is one stage further there, and so is a
    # suspect only until the next look.
    unfinished = set(requests.unfinished().items())
    return unfinished - jobs.carried() if unfinished else set()

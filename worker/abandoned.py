"""Fails the request of a job that RQ has given up, so that it does not stay open until it expires.

RQ calls this for every job that raised or whose worker died. While retries are left it does
nothing.
"""

from __future__ import annotations

from types import TracebackType

from redis import Redis
from rq.job import Job

from app.core.errors import GenerationFailed
from app.core.queueing.jobs import carried_by
from worker.runtime import runtime


def fail_request(
    job: Job,
    _connection: Redis,
    _type: type[BaseException] | None,
    _error: BaseException | None,
    _traceback: TracebackType | None,
) -> None:
    """RQ failure callback."""
    if job.retries_left:
        return
    carried = carried_by(job.id)
    assert carried is not None
    request_id, stage = carried
    error = GenerationFailed("Internal error: the workers that took this request did not survive")
    # The last execution may have enqueued the next stage before it died: then do not fail it.
    runtime().requests.fail(request_id, error, stage=stage)

"""The last word on a job that RQ gave up: its request must not stay unfinished until it expires.

Called by RQ for every job that raised or whose worker died; does nothing while RQ will try the
job again.
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
    # Its last execution may have opened the next stage before it died: then the request goes on.
    runtime().requests.fail(request_id, error, stage=stage)

"""The log and trace context of a running job: the request's id in every line, and a trace span.

It also covers RQ's own log lines about the job, and the work horse, which is forked inside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job

from app.core.queueing.jobs import carried_by
from app.core.redis import keys
from app.core.requests.record import Status
from app.core.telemetry import logs, tracing

log = logging.getLogger(__name__)


@contextmanager
def log_context(redis: Redis, job: Job, part: str = "") -> Iterator[None]:
    """The context of a block that runs a job, or a part of one. Job ids are REQUEST-STAGE; those of
    background jobs (app/core/lifecycle/background_jobs.py) are NAME-ANYTHING."""
    first, _, second = job.id.partition("-")
    request_id, work = (first, second) if carried_by(job.id) else ("", first)
    name = f"{work} {part}".rstrip()
    started = time.perf_counter()
    with logs.about(request_id):
        with tracing.span(name, _parent(redis, request_id), request_id=request_id) as span:
            yield
            if span is not None and _field(redis, request_id, "status") == Status.FAILED:
                tracing.failed(span, _field(redis, request_id, "error"))
        log.info("%s took %.3f s", name, time.perf_counter() - started)


def _parent(redis: Redis, request_id: str) -> str:
    return _field(redis, request_id, tracing.TRACEPARENT) if tracing.active() else ""


def _field(redis: Redis, request_id: str, name: str) -> str:
    """ "" for an absent field, and while Redis is unavailable: tracing must not fail a job."""
    try:
        value = cast(bytes | None, redis.hget(keys.request(request_id), name))
    except RedisError:
        log.debug("the trace context could not be read", exc_info=True)
        return ""
    return value.decode() if value is not None else ""

"""What is said about a job while it runs: the request in each log line, and a span of its trace.

RQ's own lines about a job have the request too, and so has the work horse: it is forked inside.
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
def about_job(redis: Redis, job: Job, part: str = "") -> Iterator[None]:
    """A block that carries out a job, or a part of one. Jobs are named REQUEST-STAGE; those that
    carry no request (app/core/lifecycle/background_jobs.py) CHORE-ANYTHING."""
    first, _, second = job.id.partition("-")
    request_id, work = (first, second) if carried_by(job.id) else ("", first)
    name = f"{work} {part}".rstrip()
    began = time.perf_counter()
    with logs.about(request_id):
        with tracing.span(name, _parent(redis, request_id), request_id=request_id) as span:
            yield
            if span is not None and _field(redis, request_id, "status") == Status.FAILED:
                tracing.failed(span, _field(redis, request_id, "error"))
        log.info("%s took %.3f s", name, time.perf_counter() - began)


def _parent(redis: Redis, request_id: str) -> str:
    return _field(redis, request_id, tracing.TRACEPARENT) if tracing.active() else ""


def _field(redis: Redis, request_id: str, name: str) -> str:
    """Empty where there is none, and when Redis is away: no job may fail over its trace."""
    try:
        value = cast(bytes | None, redis.hget(keys.request(request_id), name))
    except RedisError:
        log.debug("no trace", exc_info=True)
        return ""
    return value.decode() if value is not None else ""

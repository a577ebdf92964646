"""Background jobs: RQ jobs without a request. One job does all pending work of its kind.

Code that creates such work requests the job; a request while one is queued has no effect. A
request can be lost (the caller dies, Redis is unreachable), so app/api/maintenance.py calls the
sweeps below, which request the job if work is pending.
"""

from __future__ import annotations

import logging
import uuid
from enum import StrEnum

from redis import Redis
from redis.exceptions import RedisError

from app.core.lifecycle.outbox import Outbox
from app.core.queueing.jobs import FINISH, WEBHOOKS, Jobs
from app.core.redis import keys
from app.core.webhooks.deliveries import Deliveries

log = logging.getLogger(__name__)

_REQUESTED_S = 30
"""Seconds after which a job that was lost before it started can be requested again."""
_TTL_S = 600
_TIMEOUT_S = 120


class BackgroundJob(StrEnum):
    NOTIFY = "tell"
    """Report the requests in the outbox to the history and the webhooks."""
    DELIVER = "deliver"
    """Send the webhooks that are due."""


_QUEUE = {BackgroundJob.NOTIFY: FINISH, BackgroundJob.DELIVER: WEBHOOKS}
_FUNCTION = {
    BackgroundJob.NOTIFY: "worker.ended.tell",
    BackgroundJob.DELIVER: "worker.webhooks.deliver",
}


class BackgroundJobs:
    def __init__(self, redis: Redis, jobs: Jobs) -> None:
        self._redis = redis
        self._jobs = jobs

    def request(self, kind: BackgroundJob) -> None:
        """Queue the job, unless one is queued and has not started. Never raises: a sweep retries.

        The job goes to the front of its queue: it is short, and clients wait for its notifications.
        """
        try:
            if not self._redis.set(keys.background_job(kind), "1", nx=True, ex=_REQUESTED_S):
                return
            self._jobs.queue(_QUEUE[kind]).enqueue(
                _FUNCTION[kind],
                job_id=f"{kind}-{uuid.uuid4().hex}",
                job_timeout=_TIMEOUT_S,
                result_ttl=0,
                failure_ttl=_TTL_S,
                ttl=_TTL_S,
                at_front=True,
            )
        except RedisError as error:
            log.warning("%s: not queued, the next sweep retries: %s", kind, error)

    def mark_started(self, kind: BackgroundJob) -> None:
        """Called by the job before it reads its work: later work needs another job."""
        self._redis.delete(keys.background_job(kind))


def sweep_outbox(outbox: Outbox, background_jobs: BackgroundJobs) -> None:
    """Request NOTIFY if the outbox is not empty."""
    if len(outbox):
        background_jobs.request(BackgroundJob.NOTIFY)


def sweep_deliveries(deliveries: Deliveries, background_jobs: BackgroundJobs) -> None:
    """Request DELIVER if a webhook is due."""
    if deliveries.due():
        background_jobs.request(BackgroundJob.DELIVER)

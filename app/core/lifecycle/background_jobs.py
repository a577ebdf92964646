"""Jobs that carry no request: one does all the work of its kind that there is.

Whoever makes such work calls for it; a call while a job still waits adds none. A call may be lost
(the caller dies, Redis is away), so somebody has to look now and then whether work was left:
app/api/maintenance.py does, by the sweeps below.
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

_CALLED_S = 30
"""How long a call counts when its job was lost before it began."""
_WAIT_S = 600
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

    def call(self, chore: BackgroundJob) -> None:
        """Queue its job, unless one waits that has not begun. Raises nothing: a sweep calls anew.

        At the front: it takes no time, and others wait for what it tells.
        """
        try:
            if not self._redis.set(keys.background_job(chore), "1", nx=True, ex=_CALLED_S):
                return
            self._jobs.queue(_QUEUE[chore]).enqueue(
                _FUNCTION[chore],
                job_id=f"{chore}-{uuid.uuid4().hex}",
                job_timeout=_TIMEOUT_S,
                result_ttl=0,
                failure_ttl=_WAIT_S,
                ttl=_WAIT_S,
                at_front=True,
            )
        except RedisError as error:
            log.warning("%s: not called, left to the next sweep: %s", chore, error)

    def begin(self, chore: BackgroundJob) -> None:
        """Of the job itself, before it looks for work: whatever comes from now on is for another
        one."""
        self._redis.delete(keys.background_job(chore))


def sweep_outbox(outbox: Outbox, background_jobs: BackgroundJobs) -> None:
    """Call for the telling of requests whose end nobody has been told of."""
    if len(outbox):
        background_jobs.call(BackgroundJob.NOTIFY)


def sweep_deliveries(deliveries: Deliveries, background_jobs: BackgroundJobs) -> None:
    """Call for the sending of webhooks whose time has come."""
    if deliveries.due():
        background_jobs.call(BackgroundJob.DELIVER)

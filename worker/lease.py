"""Owns the leases of jobs, for all kinds of worker: how soon a dead worker's jobs are recovered.

RQ's leases last 90 s and more, and a job whose worker died between taking and starting it waits
for two minutes. Here other workers recover a dead worker's jobs within LEASE_S plus one
maintenance interval, and jobs that it never started within UNSTARTED_S plus two. A live worker
that is silent for LEASE_S - BEAT_S may lose its job. That repeats the work but keeps the result
correct, because later writes of the silent worker are refused (app/core/lua/transitions). Workers
write leases by their own clocks, which must agree to LEASE_S - BEAT_S.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.utils import now
from rq.worker import BaseWorker
from rq.worker_registration import register

from app.core.lua import script
from worker.job_context import log_context

log = logging.getLogger(__name__)

LEASE_S = 7
BEAT_S = 2
UNSTARTED_S = 5
MAINTENANCE_S = 5
_HEARTBEAT_PAUSE = timedelta(seconds=1)


class ShortLease(BaseWorker):
    """Mixin before an RQ worker class. The worker must renew its leases every BEAT_S."""

    # RQ's back-off grows to a minute while Redis is away; redis-py's retries are enough.
    max_connection_wait_time = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unstarted_since: dict[str, float] = {}

    def execute_job(self, job: Job, queue: Queue) -> None:
        """RQ's method within the job's log context, which work horses inherit."""
        with log_context(self.connection, job):
            super().execute_job(job, queue)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds until another worker may take the job over, independent of the job's timeout."""
        return LEASE_S

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ's method, at most once per _HEARTBEAT_PAUSE: each call costs three round trips."""
        last = self.last_heartbeat
        just_sent = last is not None and now() - last < _HEARTBEAT_PAUSE
        if pipeline is not None or timeout is not None or not just_sent:
            super().heartbeat(timeout, pipeline)
            if pipeline is None and not self.is_horse:
                self.announce()

    def announce(self) -> None:
        """Register the worker with RQ again. After more than a minute without a heartbeat, or
        without Redis, other workers have removed it, and RQ registers a worker only at start."""
        if self.birth_date is None:
            return
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping=self.serialize())
            pipeline.expire(self.key, self.worker_ttl + 60)
            register(self, pipeline)
            pipeline.execute()

    def _finalize_success(
        self, job: Job, queue: Queue, execution: Execution, return_value: Any
    ) -> None:
        """RQ's method, unless the lease has expired. Then another worker holds the job; ending it
        here would prevent its recovery if that worker dies."""
        entry = self.connection.zscore(queue.started_job_registry.key, execution.composite_key)
        if entry is not None:
            super()._finalize_success(job, queue, execution, return_value)
        else:
            log.warning("job %s: its lease expired; another worker holds it", job.id)
            self.executions.pop(execution.id, None)

    def clean_registries(self) -> None:
        """RQ's maintenance, preceded by the recovery of jobs that were taken but never started."""
        for queue in self.queues:
            self._shorten_lock(queue)
            self._put_back_unstarted(queue)
        super().clean_registries()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _shorten_lock(self, queue: Queue) -> None:
        """A worker that dies in RQ's maintenance would block it for a quarter of an hour."""
        if self.connection.ttl(queue.registry_cleaning_key) > MAINTENANCE_S:
            self.connection.expire(queue.registry_cleaning_key, MAINTENANCE_S)

    def _put_back_unstarted(self, queue: Queue) -> None:
        now = time.monotonic()
        job_ids = queue.intermediate_queue.get_job_ids()
        self._unstarted_since = {job: self._unstarted_since.get(job, now) for job in job_ids}
        put_back = self.connection.register_script(script("worker/put_back_job"))
        for job_id, since in list(self._unstarted_since.items()):
            if now - since < UNSTARTED_S or job_id in queue.started_job_registry:
                continue
            first_seen = queue.intermediate_queue.get_first_seen_key(job_id)
            if put_back(keys=[queue.intermediate_queue.key, queue.key, first_seen], args=[job_id]):
                log.warning("job %s: its worker died before starting it; re-queued", job_id)
            del self._unstarted_since[job_id]  # the next worker gets the full UNSTARTED_S

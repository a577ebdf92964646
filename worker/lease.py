"""How long a job belongs to a worker that is not heard of, for both kinds of worker.

RQ's own leases are 90 s and more, and a job whose worker died between taking and starting it
waits for two minutes. Here a killed worker's jobs are taken up within LEASE_S plus one
maintenance interval, those it never started within UNSTARTED_S plus two. A worker that is alive
but silent for LEASE_S - BEAT_S may lose its job: that costs the work, never the result, since
what it writes afterwards is refused (app/core/lua/transitions). Leases are written by the
workers' own clocks, which must agree to LEASE_S - BEAT_S.
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
from worker.job_context import about_job

log = logging.getLogger(__name__)

LEASE_S = 7
BEAT_S = 2
UNSTARTED_S = 5
MAINTENANCE_S = 5
_HEARTBEAT_PAUSE = timedelta(seconds=1)


class ShortLease(BaseWorker):
    """Mixin before an RQ worker class; whoever uses it renews the lease every BEAT_S."""

    # RQ doubles its pauses up to a minute while Redis is away, and redis-py has waited by then.
    max_connection_wait_time = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unstarted_since: dict[str, float] = {}

    def execute_job(self, job: Job, queue: Queue) -> None:
        """RQ's own; whatever is logged meanwhile, in a work horse too, names the request."""
        with about_job(self.connection, job):
            super().execute_job(job, queue)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds after which another worker may take the job, whatever the job's timeout."""
        return LEASE_S

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ's own, but not three times between two jobs: each costs three round trips."""
        last = self.last_heartbeat
        just_sent = last is not None and now() - last < _HEARTBEAT_PAUSE
        if pipeline is not None or timeout is not None or not just_sent:
            super().heartbeat(timeout, pipeline)
            if pipeline is None and not self.is_horse:
                self.announce()

    def announce(self) -> None:
        """Write again what RQ writes at a worker's birth: after a silence of more than a minute,
        its own or Redis', others have struck it off, and RQ itself would not come back to that."""
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
        """RQ's own, unless the lease has run out: the job is another worker's by now, and signed
        off it would not be taken up again, should that one die."""
        entry = self.connection.zscore(queue.started_job_registry.key, execution.composite_key)
        if entry is not None:
            super()._finalize_success(job, queue, execution, return_value)
        else:
            log.warning("job %s: its lease ran out; leaving it to whoever has it", job.id)
            self.executions.pop(execution.id, None)

    def clean_registries(self) -> None:
        """RQ's maintenance, and before it the jobs that were taken but never started."""
        for queue in self.queues:
            self._shorten_lock(queue)
            self._put_back_unstarted(queue)
        super().clean_registries()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _shorten_lock(self, queue: Queue) -> None:
        """Who dies in RQ's maintenance would keep others from it for a quarter of an hour."""
        if self.connection.ttl(queue.registry_cleaning_key) > MAINTENANCE_S:
            self.connection.expire(queue.registry_cleaning_key, MAINTENANCE_S)

    def _put_back_unstarted(self, queue: Queue) -> None:
        now = time.monotonic()
        taken = queue.intermediate_queue.get_job_ids()
        self._unstarted_since = {job: self._unstarted_since.get(job, now) for job in taken}
        put_back = self.connection.register_script(script("worker/put_back_job"))
        for job_id, since in list(self._unstarted_since.items()):
            if now - since < UNSTARTED_S or job_id in queue.started_job_registry:
                continue
            first_seen = queue.intermediate_queue.get_first_seen_key(job_id)
            if put_back(keys=[queue.intermediate_queue.key, queue.key, first_seen], args=[job_id]):
                log.warning("job %s was taken by a worker that died; it waits again", job_id)
            del self._unstarted_since[job_id]  # whoever takes it next has the whole time again

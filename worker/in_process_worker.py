"""An RQ worker that runs its jobs in its own process and never forks.

RQ's SimpleWorker does not renew leases while a job runs. Here a thread does. The same thread ends
the process when a job is stuck in native code, where RQ's own timeout cannot reach it.

A job function may return a `Rest`: the second part of its work. A subclass decides on which thread
the rest runs. Until it has run, the job is unfinished for RQ and its lease is renewed, so another
worker takes the job if this process dies.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.utils import now

from worker.graceful_shutdown import GracefulShutdown
from worker.job_context import about_job
from worker.lease import BEAT_S, LEASE_S, ShortLease
from worker.stage import Rest

log = logging.getLogger(__name__)

STUCK_GRACE_S = 30
EXIT_STUCK = 70


class InProcessWorker(GracefulShutdown, ShortLease, SimpleWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._left = threading.Event()

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """RQ's loop, with a thread that renews the leases of all jobs in hand."""
        renewing = threading.Thread(target=self._renew_leases, name="leases", daemon=True)
        renewing.start()
        try:
            return super().work(*args, **kwargs)
        finally:
            self._left.set()
            renewing.join()

    def run_rest(self, job: Job, queue: Queue, execution: Execution, rest: Rest) -> None:
        """Run the second part of a job and sign the job off. May be called on any thread."""
        try:
            with about_job(self.connection, job, "rest"):
                rest()
                super()._finalize_success(job, queue, execution, None)
        except Exception:
            # RQ can fail a job only from the main thread. So treat this as the death of the
            # process: the lease runs out and another worker takes the job.
            log.exception("job %s: its end failed; leaving it to another worker", job.id)
            self.executions.pop(execution.id, None)

    def on_beat(self) -> None:
        """Called every BEAT_S by the thread that renews leases."""

    def _renew_leases(self) -> None:
        while not self._left.wait(BEAT_S):
            for execution in list(self.executions.values()):
                self._renew_lease(execution)
            self.on_beat()
            if self.executions:  # a long job; an idle worker does it by itself
                self._announce_or_log()

    def _renew_lease(self, execution: Execution) -> None:
        job = execution.job
        patience = timedelta(seconds=(job.timeout or LEASE_S) + STUCK_GRACE_S)
        if now() - execution.created_at > patience:
            log.critical("job %s is stuck in native code; leaving", job.id)
            os._exit(EXIT_STUCK)
        try:
            self.maintain_heartbeats(job, execution)
        except RedisError:
            log.warning("job %s: its lease could not be renewed", job.id, exc_info=True)

    def _announce_or_log(self) -> None:
        try:
            self.announce()
        except RedisError:
            log.debug("the worker was not announced", exc_info=True)

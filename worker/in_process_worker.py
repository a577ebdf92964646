"""An RQ worker that runs its jobs in its own process and never forks.

RQ's SimpleWorker does not renew leases while a job runs; here a thread does. The same thread ends
the process when a job is stuck in native code, which RQ's timeout cannot interrupt.

A job function may return deferred work. A subclass decides which thread runs it. Until it has run,
RQ counts the job as started and its lease is renewed, so another worker takes the job over if this
process dies.
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
from worker.job_context import log_context
from worker.lease import BEAT_S, LEASE_S, ShortLease
from worker.stage import DeferredWork

log = logging.getLogger(__name__)

STUCK_GRACE_S = 30
EXIT_STUCK = 70


class InProcessWorker(GracefulShutdown, ShortLease, SimpleWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopped = threading.Event()

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """RQ's loop, with a thread that renews the leases of all in-flight jobs."""
        lease_thread = threading.Thread(target=self._renew_leases, name="leases", daemon=True)
        lease_thread.start()
        try:
            return super().work(*args, **kwargs)
        finally:
            self._stopped.set()
            lease_thread.join()

    def run_deferred(
        self, job: Job, queue: Queue, execution: Execution, deferred: DeferredWork
    ) -> None:
        """Run a job's deferred work, then end the job in RQ. May be called on any thread."""
        try:
            with log_context(self.connection, job, "rest"):
                deferred()
                super()._finalize_success(job, queue, execution, None)
        except Exception:
            # RQ can fail a job only from the main thread. So treat this like the death of the
            # process: the lease expires and another worker takes the job over.
            log.exception("job %s: its deferred work failed; its lease will expire", job.id)
            self.executions.pop(execution.id, None)

    def on_beat(self) -> None:
        """Hook: the lease thread calls it every BEAT_S."""

    def _renew_leases(self) -> None:
        while not self._stopped.wait(BEAT_S):
            for execution in list(self.executions.values()):
                self._renew_lease(execution)
            self.on_beat()
            if self.executions:  # during a long job; an idle worker announces itself anyway
                self._announce_or_log()

    def _renew_lease(self, execution: Execution) -> None:
        job = execution.job
        limit = timedelta(seconds=(job.timeout or LEASE_S) + STUCK_GRACE_S)
        if now() - execution.created_at > limit:
            log.critical("job %s is stuck in native code; the process exits", job.id)
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

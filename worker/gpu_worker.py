"""The RQ worker that owns a GPU: one process, one job at a time on the device, never forks (CUDA
does not survive a fork, and the weights would load again for every job).

RQ's SimpleWorker renews no lease while a job runs. Here a thread does; the same thread ends the
process when a job is stuck in native code, where RQ's own timeout cannot reach it.

A job may return a rest: what it still has to do and the device is not needed for. That is done
while the next job has the device, or at once when there is none. Until then the job is in hand
like any other, unfinished and its lease renewed; a process that dies has finished nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.utils import now

from app.core.workers import MAX_PIXELS_FIELD
from worker.job_context import about_job
from worker.lease import BEAT_S, LEASE_S, ShortLease
from worker.leaving import BoundedLeave
from worker.runtime import runtime
from worker.stage import Rest

log = logging.getLogger(__name__)

STUCK_GRACE_S = 30
EXIT_STUCK = 70


class GpuWorker(BoundedLeave, ShortLease, SimpleWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._aside = runtime().aside
        self._left = threading.Event()

    def serialize(self) -> dict[str, Any]:
        """What RQ writes into its hash of this worker, and how many pixels the card can do."""
        published: dict[str, Any] = super().serialize()
        checkpoint = runtime().checkpoint
        if checkpoint is not None and checkpoint.max_pixels is not None:
            published[MAX_PIXELS_FIELD] = checkpoint.max_pixels
        return published

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """RQ's loop, with a thread that renews the leases of all jobs in hand."""
        renewing = threading.Thread(target=self._renew_leases, name="leases", daemon=True)
        renewing.start()
        try:
            return super().work(*args, **kwargs)
        finally:
            self._left.set()
            renewing.join()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job. While none waits the device is free: then what is left is begun here."""
        if self._aside.pending:
            found = super().dequeue_job_and_maintain_ttl(None)
            if found is not None:
                return found
            self._aside.begin()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def _finalize_success(
        self, job: Job, queue: Queue, execution: Execution, return_value: Any
    ) -> None:
        """RQ's end of a job that raised nothing, at once or after the rest that it returned."""
        if return_value is None:
            self._aside.begin()  # this job may never have had the device
            super()._finalize_success(job, queue, execution, None)
        else:
            self._aside.leave(partial(self._finish, job, queue, execution, return_value))
            if not self._others_wait(queue):  # RQ has some twenty round trips to do before it looks
                self._aside.begin()

    def _others_wait(self, queue: Queue) -> bool:
        try:
            return bool(queue.count)
        except RedisError:  # to be met again by who takes the next job
            log.debug("the queue could not be asked", exc_info=True)
            return True

    def _finish(self, job: Job, queue: Queue, execution: Execution, rest: Rest) -> None:
        try:
            with about_job(self.connection, job, "rest"):
                rest()
                super()._finalize_success(job, queue, execution, None)
        except Exception:
            # RQ's own ways of failing a job need the main thread. As if the process had died:
            # the lease runs out, and the job is given to another worker.
            log.exception("job %s: its end failed; leaving it to another worker", job.id)
            self.executions.pop(execution.id, None)

    def teardown(self) -> None:
        self._aside.settle()
        super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _renew_leases(self) -> None:
        while not self._left.wait(BEAT_S):
            for execution in list(self.executions.values()):
                job = execution.job
                patience = timedelta(seconds=(job.timeout or LEASE_S) + STUCK_GRACE_S)
                if now() - execution.created_at > patience:
                    log.critical("job %s is stuck in native code; leaving", job.id)
                    os._exit(EXIT_STUCK)
                try:
                    self.maintain_heartbeats(job, execution)
                except RedisError:
                    log.warning("job %s: its lease could not be renewed", job.id, exc_info=True)
            self._publish_status()
            if self.executions:  # a long job; an idle worker does it by itself
                self._announce_or_log()

    def _announce_or_log(self) -> None:
        try:
            self.announce()
        except RedisError:
            log.debug("the worker was not announced", exc_info=True)

    def _publish_status(self) -> None:
        status = runtime().meter.status()
        if status is None:
            return
        try:
            status.publish(self.connection, self.key)
        except RedisError:
            log.debug("the device's status was not published", exc_info=True)

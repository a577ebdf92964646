"""The RQ worker that owns a GPU: one process, one job at a time on the device.

It never forks: CUDA does not survive a fork, and every job would load the weights again. A job's
deferred work, which does not need the device, runs on the background thread while the next job
uses the device, or at once when no job waits.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

from app.core.queueing.workers import MAX_PIXELS_FIELD
from worker.in_process_worker import InProcessWorker
from worker.runtime import runtime

log = logging.getLogger(__name__)


class GpuWorker(InProcessWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._background = runtime().background_thread

    def serialize(self) -> dict[str, Any]:
        """The fields of RQ's hash of this worker, plus the largest picture the card can make."""
        fields: dict[str, Any] = super().serialize()
        checkpoint = runtime().checkpoint
        if checkpoint is not None and checkpoint.max_pixels is not None:
            fields[MAX_PIXELS_FIELD] = checkpoint.max_pixels
        return fields

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job. If none waits, the deferred work of the last one starts now."""
        if self._background.pending:
            job_and_queue = super().dequeue_job_and_maintain_ttl(None)
            if job_and_queue is not None:
                return job_and_queue
            self._background.start()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def _finalize_success(
        self, job: Job, queue: Queue, execution: Execution, return_value: Any
    ) -> None:
        """RQ's end of a successful job: at once, or after the deferred work that it returned."""
        if return_value is None:
            self._background.start()  # this job may not have started it: it never used the device
            super()._finalize_success(job, queue, execution, None)
        else:
            self._background.defer(partial(self.run_deferred, job, queue, execution, return_value))
            # RQ makes some twenty round trips before it dequeues: check for a next job here.
            if not self._has_waiting_jobs(queue):
                self._background.start()

    def _has_waiting_jobs(self, queue: Queue) -> bool:
        try:
            return bool(queue.count)
        except RedisError:  # the next dequeue reports it
            log.debug("the queue length could not be read", exc_info=True)
            return True

    def teardown(self) -> None:
        self._background.flush()
        super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def on_beat(self) -> None:
        """Publish the device's load."""
        status = runtime().meter.status()
        if status is None:
            return
        try:
            status.publish(self.connection, self.key)
        except RedisError:
            log.debug("the device's status was not published", exc_info=True)

"""The RQ worker that owns a GPU: one process, one job at a time on the device, never forks (CUDA
does not survive a fork, and the weights would load again for every job).

The rest of a job, for which the device is not needed, runs while the next job has the device, or
at once when there is none.
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
        self._aside = runtime().background_thread

    def serialize(self) -> dict[str, Any]:
        """What RQ writes into its hash of this worker, and how many pixels the card can do."""
        published: dict[str, Any] = super().serialize()
        checkpoint = runtime().checkpoint
        if checkpoint is not None and checkpoint.max_pixels is not None:
            published[MAX_PIXELS_FIELD] = checkpoint.max_pixels
        return published

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
            self._aside.leave(partial(self.run_rest, job, queue, execution, return_value))
            if not self._others_wait(queue):  # RQ has some twenty round trips to do before it looks
                self._aside.begin()

    def _others_wait(self, queue: Queue) -> bool:
        try:
            return bool(queue.count)
        except RedisError:  # to be met again by who takes the next job
            log.debug("the queue could not be asked", exc_info=True)
            return True

    def teardown(self) -> None:
        self._aside.settle()
        super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def on_beat(self) -> None:
        """Publish how busy the device is."""
        status = runtime().meter.status()
        if status is None:
            return
        try:
            status.publish(self.connection, self.key)
        except RedisError:
            log.debug("the device's status was not published", exc_info=True)

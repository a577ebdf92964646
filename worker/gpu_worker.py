"""The RQ worker that owns a GPU: one process, one job at a time, never forks (CUDA does not survive
a fork, and the weights would load again for every job).

RQ's SimpleWorker renews no lease while a job runs. Here a thread does; the same thread ends the
process when a job is stuck in native code, where RQ's own timeout cannot reach it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

from app.core.queue import MAX_PIXELS_FIELD
from worker.lease import BEAT_S, LEASE_S, ShortLease
from worker.runtime import runtime

log = logging.getLogger(__name__)

STUCK_GRACE_S = 30
EXIT_STUCK = 70


class GpuWorker(ShortLease, SimpleWorker):
    def serialize(self) -> dict[str, Any]:
        """What RQ writes into its hash of this worker, and how many pixels the card can do."""
        published: dict[str, Any] = super().serialize()
        checkpoint = runtime().checkpoint
        if checkpoint is not None and checkpoint.max_pixels is not None:
            published[MAX_PIXELS_FIELD] = checkpoint.max_pixels
        return published

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run the job in this thread while another one renews its lease."""
        done = threading.Event()
        beat = threading.Thread(
            target=self._beat, args=(job, execution, done), name="lease", daemon=True
        )
        beat.start()
        try:
            return super().perform_job(job, queue, execution)
        finally:
            done.set()
            beat.join()

    def _beat(self, job: Job, execution: Execution, done: threading.Event) -> None:
        deadline = time.monotonic() + (job.timeout or LEASE_S) + STUCK_GRACE_S
        while not done.wait(BEAT_S):
            if time.monotonic() > deadline:
                log.critical("job %s is stuck in native code; leaving", job.id)
                os._exit(EXIT_STUCK)
            try:
                self.maintain_heartbeats(job, execution)
            except RedisError:
                log.warning("job %s: its lease could not be renewed", job.id, exc_info=True)

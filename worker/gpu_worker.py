"""The RQ worker that owns a GPU: one process, one job at a time, never forks (CUDA does not survive
a fork, and the weights would load again for every job).

RQ's SimpleWorker gives a job a lease of its whole timeout, so a killed worker would be noticed an
hour later. Here the lease is short and a thread renews it; the same thread ends the process when
a job is stuck in native code where RQ's own timeout cannot reach it.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

log = logging.getLogger(__name__)

LEASE_S = 30
BEAT_S = LEASE_S / 3
STUCK_GRACE_S = 30
EXIT_STUCK = 70


class GpuWorker(SimpleWorker):
    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds after which another worker may take the job: the lease, not the job's timeout."""
        return LEASE_S

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

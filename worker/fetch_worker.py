"""The RQ worker that downloads pictures, SLOTS at the same time, each on its own thread.

A slow or silent host therefore delays only the requests that name it. The main thread takes a job,
claims its request and starts a thread for the download, which is the job's deferred work. It takes
no further job while all slots are in use.
"""

from __future__ import annotations

import threading
from typing import Any

from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

from app.core.queueing.jobs import CPU
from worker.fair_queue import FairQueue
from worker.in_process_worker import InProcessWorker
from worker.stage import DeferredWork

SLOTS = 16
"""Concurrent downloads of one process. Each holds at most MAX_IMAGE_BYTES in memory, twice that for
a moment."""


class FetchQueue(FairQueue):
    """Stops downloads for a key while its downloaded files, held in Redis, wait for a decoder."""

    slots = SLOTS
    downstream = CPU


class FetchWorker(InProcessWorker):
    queue_class = FetchQueue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._free = threading.Semaphore(SLOTS)
        self._in_flight: dict[str, tuple[Job, Queue, Execution]] = {}

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job, once a slot is free. Only the main thread acquires slots."""
        self._free.acquire()
        self._free.release()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def _finalize_success(
        self, job: Job, queue: Queue, execution: Execution, return_value: Any
    ) -> None:
        """Start the download. A job without deferred work has none, and RQ ends it at once."""
        if return_value is None:
            super()._finalize_success(job, queue, execution, None)
            return
        self._free.acquire()
        self._in_flight[execution.id] = job, queue, execution
        args = (job, queue, execution, return_value)
        threading.Thread(target=self._download, args=args, name=job.id, daemon=True).start()

    def _download(
        self, job: Job, queue: Queue, execution: Execution, download: DeferredWork
    ) -> None:
        try:
            self.run_deferred(job, queue, execution, download)
        finally:
            self._in_flight.pop(execution.id, None)
            self._free.release()

    def teardown(self) -> None:
        """Wait for all downloads. On an immediate shutdown (SystemExit), re-queue their jobs."""
        try:
            self._wait_for_downloads()
        except SystemExit:
            for job, queue, execution in list(self._in_flight.values()):
                self.handle_job_failure(job, queue, exc_string="worker left", execution=execution)
            raise
        finally:
            super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _wait_for_downloads(self) -> None:
        """Return once no download is in flight."""
        for _ in range(SLOTS):
            self._free.acquire()
        self._free.release(SLOTS)

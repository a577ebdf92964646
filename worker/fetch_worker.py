"""The RQ worker that downloads pictures: many jobs at the same time, each on a thread of its own,
so that a host that answers slowly or never delays only the requests that name it.

The main thread takes a job, claims its request and starts a thread for the download, which is the
rest of the job. It takes no further job while all SLOTS are in use.
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
from worker.stage import Rest

SLOTS = 16
"""Downloads at the same time in one process. Each holds at most MAX_IMAGE_BYTES, twice for a
moment."""


class FetchQueue(FairQueue):
    """A key whose pictures wait for a decoder gets no more of them downloaded: the files are in
    memory of Redis meanwhile."""

    slots = SLOTS
    downstream = CPU


class FetchWorker(InProcessWorker):
    queue_class = FetchQueue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._free = threading.Semaphore(SLOTS)
        self._in_hand: dict[str, tuple[Job, Queue, Execution]] = {}

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job, once a slot is free. Only this thread takes slots."""
        self._free.acquire()
        self._free.release()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def _finalize_success(
        self, job: Job, queue: Queue, execution: Execution, return_value: Any
    ) -> None:
        """Without a rest there is nothing to download, and RQ ends the job at once."""
        if return_value is None:
            super()._finalize_success(job, queue, execution, None)
            return
        self._free.acquire()
        self._in_hand[execution.id] = job, queue, execution
        args = (job, queue, execution, return_value)
        threading.Thread(target=self._download, args=args, name=job.id, daemon=True).start()

    def _download(self, job: Job, queue: Queue, execution: Execution, rest: Rest) -> None:
        try:
            self.run_rest(job, queue, execution, rest)
        finally:
            self._in_hand.pop(execution.id, None)
            self._free.release()

    def teardown(self) -> None:
        """Wait for all downloads. When told to leave at once, put their jobs back."""
        try:
            self._settle()
        except SystemExit:
            for job, queue, execution in list(self._in_hand.values()):
                self.handle_job_failure(job, queue, exc_string="worker left", execution=execution)
            raise
        finally:
            super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _settle(self) -> None:
        """Return once no download is under way."""
        for _ in range(SLOTS):
            self._free.acquire()
        self._free.release(SLOTS)

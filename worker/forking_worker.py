"""The RQ workers that fork a work horse for each job, so that a job that breaks its process (a
decoder, a receiver of webhooks) ends alone.
"""

from __future__ import annotations

from rq import Worker
from rq.job import Job
from rq.queue import Queue

from app.core.processes import die_with_parent
from worker.fair_queue import FairQueue
from worker.lease import ShortLease
from worker.leaving import BoundedLeave


class ForkingWorker(BoundedLeave, ShortLease, Worker):
    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The forked child. It must not outlive its worker: the job is given to another one."""
        die_with_parent()
        super().main_work_horse(job, queue)


class PrepareWorker(ForkingWorker):
    """Its jobs decode what clients send, so no key may occupy all of these workers."""

    queue_class = FairQueue

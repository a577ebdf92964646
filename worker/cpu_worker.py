"""The RQ worker for prepare and finish, and for webhooks: forks a work horse for each job, so that
what a decoder breaks dies alone.
"""

from __future__ import annotations

from rq import Worker
from rq.job import Job
from rq.queue import Queue

from app.core.processes import die_with_parent
from worker.lease import ShortLease
from worker.leaving import BoundedLeave


class CpuWorker(BoundedLeave, ShortLease, Worker):
    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The forked child. It must not outlive its worker: the job is given to another one."""
        die_with_parent()
        super().main_work_horse(job, queue)

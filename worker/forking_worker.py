"""The RQ workers that fork a work horse for each job, so that a crash ends only that job."""

from __future__ import annotations

from typing import Any

from rq import Worker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue

from app.core.queueing.jobs import carried_by
from app.core.system.processes import die_with_parent
from app.core.telemetry import logs
from worker.fair_queue import FairQueue
from worker.graceful_shutdown import GracefulShutdown
from worker.lease import ShortLease
from worker.standby_horse import StandbyHorse


class ForkingWorker(GracefulShutdown, ShortLease, Worker):
    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The forked child. It must not outlive its worker, whose job another worker takes over."""
        die_with_parent()
        super().main_work_horse(job, queue)


class PrepareWorker(ForkingWorker):
    """Decodes the pictures of clients. The fair queue keeps one key from occupying all workers. A
    standby work horse saves the time of the fork, because a client waits for each job."""

    queue_class = FairQueue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._standby: StandbyHorse | None = None

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        if self._standby is None:
            self._standby = StandbyHorse(self._get_ready, self._run)
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        standby, self._standby = self._standby, None
        execution = self.execution
        if standby and execution and standby.give(job.id, execution.id):
            self._horse_pid = standby.pid
        else:
            super().fork_work_horse(job, queue)

    def teardown(self) -> None:
        if self._standby is not None:
            self._standby.dismiss()
            self._standby = None
        super().teardown()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def _get_ready(self) -> None:
        """Runs in the work horse, before it has a job."""
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]  # rq leaves it untyped
        self.connection.ping()

    def _run(self, job_id: str, execution_id: str) -> None:
        """Runs in the work horse and ends it. Restores what a later fork would have inherited."""
        job = self.job_class.fetch(job_id, self.connection, self.serializer)
        execution = Execution.fetch(execution_id, job_id, self.connection)
        execution._job = job
        self.executions = {execution.id: execution}
        carried = carried_by(job_id)
        with logs.about(carried[0] if carried else ""):
            self.main_work_horse(job, self.queues[0])

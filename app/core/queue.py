"""Which stage of a request runs on which RQ queue; the submitting side of RQ.

Jobs are named after their request and stage, so queueing the same stage twice is one job. An
abandoned job (its worker died) is taken up again by another worker at most RETRIES times; errors
of a request itself never reach RQ, the job ends them as FAILED.
"""

from __future__ import annotations

from contextlib import suppress

from redis import Redis
from rq import Callback, Queue, Retry, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from app.core.requests import Stage
from app.core.workers import live_workers

CPU = "cpu"
GPU = "gpu"
RETRIES = 3

_QUEUE = {Stage.PREPARE: CPU, Stage.GENERATE: GPU, Stage.FINISH: CPU}
_FUNCTION = {
    Stage.PREPARE: "worker.prepare.prepare",
    Stage.GENERATE: "worker.generate.generate",
    Stage.FINISH: "worker.finish.finish",
}
_TIMEOUT_S = {Stage.PREPARE: 90, Stage.GENERATE: 3000, Stage.FINISH: 300}
_ON_FAILURE = "worker.abandoned.fail_request"


class Jobs:
    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, request_id: str, stage: Stage) -> None:
        """Queue a stage of a request once, however often this is called."""
        try:
            self.queue(_QUEUE[stage]).enqueue(
                _FUNCTION[stage],
                request_id,
                job_id=_job_id(request_id, stage),
                unique=True,
                job_timeout=_TIMEOUT_S[stage],
                result_ttl=self._ttl_s,
                failure_ttl=self._ttl_s,
                ttl=self._ttl_s,
                retry=Retry(max=RETRIES, enqueue_at_front=True),
                # A finished picture should not wait behind the downloads of later requests.
                at_front=stage is Stage.FINISH,
                on_failure=Callback(_ON_FAILURE),
            )
        except DuplicateJobError:
            return

    def enqueue_anew(self, request_id: str, stage: Stage) -> None:
        """Queue a stage although RQ remembers a job of it that is neither waiting nor running."""
        with suppress(NoSuchJobError):
            self._fetch(request_id, stage).delete()
        self.enqueue(request_id, stage)

    def withdraw(self, request_id: str) -> None:
        """Take the jobs of a request that has ended off the queues; what a worker has taken stays
        with it."""
        for stage in Stage:
            queue = self.queue(_QUEUE[stage])
            if self._redis.lrem(queue.key, 1, _job_id(request_id, stage)):
                with suppress(NoSuchJobError):
                    self._fetch(request_id, stage).delete()

    def given_up(self, request_id: str, stage: Stage) -> bool:
        """Whether RQ has tried this stage as often as it may."""
        try:
            return self._fetch(request_id, stage).is_failed
        except NoSuchJobError:
            return False

    def carried(self) -> set[tuple[str, Stage]]:
        """Every stage of a request that some job carries: waiting, taken, running or put off.

        Jobs move between these places, so one that is not found may have been on its way.
        """
        found: set[str] = set()
        for name in (CPU, GPU):
            queue = self.queue(name)
            found.update(queue.get_job_ids(), queue.intermediate_queue.get_job_ids())
            for registry in (
                queue.started_job_registry,
                queue.scheduled_job_registry,
                queue.deferred_job_registry,
            ):
                found.update(registry.get_job_ids(cleanup=False))
        return {_carried_by(job_id) for job_id in found}

    def workers(self, name: str) -> int:
        """How many live workers listen on a queue."""
        return len(live_workers(self._redis, name))

    def max_pixels(self) -> int | None:
        """The largest picture that every live gpu worker can make; None when none has a bound."""
        said = [worker.max_pixels for worker in live_workers(self._redis, GPU)]
        return min((pixels for pixels in said if pixels is not None), default=None)

    def allowed_pixels(self, configured: int) -> int:
        """`configured` (MAX_PIXELS), or less where a card can do less."""
        card = self.max_pixels()
        return configured if card is None else min(configured, card)

    def forget_workers(self) -> None:
        """Strike every worker off the record; only for whoever knows that none is alive."""
        for worker in Worker.all(connection=self._redis, serializer=JSONSerializer):
            worker.register_death()  # type: ignore[no-untyped-call]  # rq leaves it untyped

    def waiting(self, name: str) -> int:
        """How many jobs wait on a queue."""
        return self.queue(name).count

    def _fetch(self, request_id: str, stage: Stage) -> Job:
        job_id = _job_id(request_id, stage)
        return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)

    def next_generation(self) -> str | None:
        """The request whose job is at the head of the gpu queue; the job stays there."""
        head = self.queue(GPU).get_job_ids(0, 1)
        return _carried_by(head[0])[0] if head else None


def _job_id(request_id: str, stage: Stage) -> str:
    return f"{request_id}-{stage.name.lower()}"


def _carried_by(job_id: str) -> tuple[str, Stage]:
    request_id, _, stage = job_id.rpartition("-")
    return request_id, Stage[stage.upper()]

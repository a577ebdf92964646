"""RQ jobs of requests: the queue of each stage, enqueueing, dequeueing, the state of queues.

A job equals that of RQ's enqueue(unique=True), but takes one round trip, and
app/core/lua/fragments/turns.lua chooses its position. The job id is made of request and stage, so
enqueueing is idempotent. A job whose worker died is retried at most RETRIES times. Errors of a
request never reach RQ: the job ends the request as FAILED.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import cast

from redis import Redis
from rq import Callback, Queue, Retry, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now

from app.core.lua import script
from app.core.queueing.workers import live_workers
from app.core.redis import keys
from app.core.requests.record import Stage

FETCH = "fetch"
CPU = "cpu"
GPU = "gpu"
FINISH = "finish"
WEBHOOKS = "webhooks"
QUEUES = (FETCH, CPU, GPU, FINISH, WEBHOOKS)
RETRIES = 3

_QUEUE = {Stage.FETCH: FETCH, Stage.PREPARE: CPU, Stage.GENERATE: GPU, Stage.FINISH: FINISH}
_FUNCTION = {
    Stage.FETCH: "worker.fetch.fetch",
    Stage.PREPARE: "worker.prepare.prepare",
    Stage.GENERATE: "worker.generate.generate",
    Stage.FINISH: "worker.finish.finish",
}
_POSITION = {
    Stage.FETCH: "enter",
    Stage.PREPARE: "enter",
    Stage.GENERATE: "turn",
    Stage.FINISH: "last",
}
"""Where a job enters its list; see app/core/lua/queueing/queue_once.lua."""

_TIMEOUT_S = {Stage.FETCH: 90, Stage.PREPARE: 90, Stage.FINISH: 300}
_ON_FAILURE = "worker.abandoned.fail_request"


class Jobs:
    def __init__(self, redis: Redis, ttl_s: int, generate_timeout_s: int = 3000) -> None:
        """ttl_s: lifetime of a job. generate_timeout_s: time limit of a job of GENERATE."""
        self._redis = redis
        self._ttl_s = ttl_s
        self._timeout_s = {**_TIMEOUT_S, Stage.GENERATE: generate_timeout_s}
        self._queue_once = redis.register_script(script("queueing/queue_once"))
        self._release_all = redis.register_script(script("queueing/release_all"))
        self._all_held = redis.register_script(script("queueing/all_held"))

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, request_id: str, stage: Stage) -> None:
        """Queue a stage of a request (idempotent). The first stage is held back, in no list, while
        the API key is at its concurrency limit."""
        queue = self.queue(_QUEUE[stage])
        job = queue.create_job(
            _FUNCTION[stage],
            args=(request_id,),
            job_id=_job_id(request_id, stage),
            timeout=self._timeout_s[stage],
            result_ttl=self._ttl_s,
            failure_ttl=self._ttl_s,
            ttl=self._ttl_s,
            status=JobStatus.QUEUED,
            retry=Retry(max=RETRIES, enqueue_at_front=True),
            on_failure=Callback(_ON_FAILURE),
        )
        job.enqueued_at = now()
        fields = chain.from_iterable(job.to_dict().items())
        self._queue_once(
            keys=[job.key, queue.key, keys.request(request_id), Queue.redis_queues_keys],
            args=[job.id, request_id, _POSITION[stage], self._ttl_s, *fields],
        )

    def requeue(self, request_id: str, stage: Stage) -> None:
        """Queue a stage although RQ has a job of it that is neither queued nor running."""
        with suppress(NoSuchJobError):
            self._fetch(request_id, stage).delete()
        self.enqueue(request_id, stage)

    def dequeue(self, request_id: str) -> None:
        """Remove the queued jobs of an ended request; a job that a worker has taken stays there."""
        for stage in Stage:
            queue = self.queue(_QUEUE[stage])
            if self._redis.lrem(queue.key, 1, _job_id(request_id, stage)):
                with suppress(NoSuchJobError):
                    self._fetch(request_id, stage).delete()

    def retries_exhausted(self, request_id: str, stage: Stage) -> bool:
        """Whether RQ has failed the job of this stage for good."""
        try:
            return self._fetch(request_id, stage).is_failed
        except NoSuchJobError:
            return False

    def release_held(self) -> None:
        """Queue held requests whose API key has capacity. The end of a request does this itself,
        but not the expiry or loss of one."""
        self._release_all()

    def carried_stages(self) -> set[tuple[str, Stage]]:
        """Every (request id, stage) with a job: queued, taken, running, deferred, or held back by
        the concurrency limit.

        Jobs move between these places, so this can miss one that is moving.
        """
        held = cast(list[bytes], self._all_held())
        job_ids = {job_id.decode() for job_id in held}
        for name in QUEUES:
            queue = self.queue(name)
            job_ids.update(queue.get_job_ids(), queue.intermediate_queue.get_job_ids())
            for registry in (
                queue.started_job_registry,
                queue.scheduled_job_registry,
                queue.deferred_job_registry,
            ):
                job_ids.update(registry.get_job_ids(cleanup=False))
        return {carried for job_id in job_ids if (carried := carried_by(job_id)) is not None}

    def workers(self, name: str) -> int:
        """Number of live workers of a queue."""
        return len(live_workers(self._redis, name))

    def max_pixels(self) -> int | None:
        """Largest picture that all live gpu workers can make, in pixels; None without a limit."""
        limits = [worker.max_pixels for worker in live_workers(self._redis, GPU)]
        return min((pixels for pixels in limits if pixels is not None), default=None)

    def allowed_pixels(self, configured: int) -> int:
        """`configured` (MAX_PIXELS), or less if a GPU has too little memory for it."""
        limit = self.max_pixels()
        return configured if limit is None else min(configured, limit)

    def forget_workers(self) -> None:
        """Unregister all workers. Only for a caller that knows that none is alive."""
        for worker in Worker.all(connection=self._redis, serializer=JSONSerializer):
            worker.register_death()

    def waiting(self, name: str) -> int:
        """Number of jobs that wait on a queue."""
        return self.queue(name).count

    def _fetch(self, request_id: str, stage: Stage) -> Job:
        job_id = _job_id(request_id, stage)
        return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)

    def next_generation(self) -> str | None:
        """The request at the head of the gpu queue; its job stays there."""
        head = self.queue(GPU).get_job_ids(0, 1)
        carried = carried_by(head[0]) if head else None
        return carried[0] if carried else None


def _job_id(request_id: str, stage: Stage) -> str:
    return f"{request_id}-{stage.name.lower()}"


def carried_by(job_id: str) -> tuple[str, Stage] | None:
    """(request id, stage) of a job; None for a background job
    (app.core.lifecycle.background_jobs)."""
    request_id, _, stage = job_id.rpartition("-")
    return (request_id, Stage[stage.upper()]) if stage.upper() in Stage.__members__ else None

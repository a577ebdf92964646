"""Which stage of a request runs on which RQ queue; the submitting side of RQ.

What is queued is what RQ's own enqueue(unique=True) would queue, but for its place in the list,
which app.core.queueing.fairness decides, and in one round trip.
Jobs are named after their request and stage, so queueing the same stage twice is one job. An
abandoned job (its worker died) is taken up again by another worker at most RETRIES times; errors
of a request itself never reach RQ, the job ends them as FAILED.
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
_PLACE = {
    Stage.FETCH: "enter",
    Stage.PREPARE: "enter",
    Stage.GENERATE: "turn",
    Stage.FINISH: "last",
}
"""How each stage is placed in its list; see app/core/lua/queueing/queue_once.lua."""

_TIMEOUT_S = {Stage.FETCH: 90, Stage.PREPARE: 90, Stage.GENERATE: 3000, Stage.FINISH: 300}
_ON_FAILURE = "worker.abandoned.fail_request"


class Jobs:
    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._queue_once = redis.register_script(script("queueing/queue_once"))
        self._release_all = redis.register_script(script("queueing/release_all"))
        self._all_held = redis.register_script(script("queueing/all_held"))

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, request_id: str, stage: Stage) -> None:
        """Queue a stage of a request once, however often this is called. The first one waits, in
        no list yet, while the request's key has as many in flight as it may."""
        queue = self.queue(_QUEUE[stage])
        job = queue.create_job(
            _FUNCTION[stage],
            args=(request_id,),
            job_id=_job_id(request_id, stage),
            timeout=_TIMEOUT_S[stage],
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
            args=[job.id, request_id, _PLACE[stage], self._ttl_s, *fields],
        )

    def enqueue_again(self, request_id: str, stage: Stage) -> None:
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

    def release_held(self) -> None:
        """Let requests go that wait for another one of their key which expired or was lost; the
        end of a request does so itself."""
        self._release_all()

    def carried(self) -> set[tuple[str, Stage]]:
        """Every stage of a request that some job carries: waiting, taken, running or put off, or
        held until its key has room.

        Jobs move between these places, so one that is not found may have been on its way.
        """
        held = cast(list[bytes], self._all_held())
        found = {job_id.decode() for job_id in held}
        for name in QUEUES:
            queue = self.queue(name)
            found.update(queue.get_job_ids(), queue.intermediate_queue.get_job_ids())
            for registry in (
                queue.started_job_registry,
                queue.scheduled_job_registry,
                queue.deferred_job_registry,
            ):
                found.update(registry.get_job_ids(cleanup=False))
        return {carried for job_id in found if (carried := carried_by(job_id)) is not None}

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
        carried = carried_by(head[0]) if head else None
        return carried[0] if carried else None


def _job_id(request_id: str, stage: Stage) -> str:
    return f"{request_id}-{stage.name.lower()}"


def carried_by(job_id: str) -> tuple[str, Stage] | None:
    """(request id, stage) of a job; None for one that carries no request
    (app.core.lifecycle.background_jobs)."""
    request_id, _, stage = job_id.rpartition("-")
    return (request_id, Stage[stage.upper()]) if stage.upper() in Stage.__members__ else None

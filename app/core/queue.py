"""The only file that imports rq on the submitting side: which stage runs on which queue.

Jobs are named after their request and stage, so queueing the same stage twice is one job. An
abandoned job (its worker died) is taken up again by another worker at most RETRIES times; errors
of a request itself never reach RQ, the job ends them as FAILED.
"""

from __future__ import annotations

from typing import cast

from redis import Redis
from rq import Callback, Queue, Retry, Worker
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from app.core.requests import Stage

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

MAX_PIXELS_FIELD = "max_pixels"
"""Where a gpu worker says, in RQ's own hash of it, how many pixels its card can do."""


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
                job_id=f"{request_id}-{stage.name.lower()}",
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

    def workers(self, name: str) -> int:
        """How many live workers listen on a queue."""
        return Worker.count(queue=self.queue(name))

    def max_pixels(self) -> int | None:
        """The largest picture that every live gpu worker can make; None when none has a bound.

        One round trip: each worker's field is read on the way through the set of workers, and a
        worker whose hash has expired has no field.
        """
        workers = WORKERS_BY_QUEUE_KEY % GPU
        found = self._redis.sort(workers, by="nosort", get=[f"*->{MAX_PIXELS_FIELD}"])
        said = cast(list[bytes | None], found)
        return min((int(pixels) for pixels in said if pixels is not None), default=None)

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

    def next_generation(self) -> str | None:
        """The request whose job is at the head of the gpu queue; the job stays there."""
        head = self.queue(GPU).get_job_ids(0, 1)
        return head[0].rpartition("-")[0] if head else None

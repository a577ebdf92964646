"""Which job a worker takes: no key occupies all workers of a queue."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from app.core.queue import CPU
from app.core.record import Stage
from app.core.requests import Account
from app.core.workers import SILENT_S
from tests.support.waiting import until
from worker.fair_queue import FairQueue
from worker.runtime import Runtime


class FourAtATime(FairQueue):
    slots = 4


class Rig:
    """Requests of several keys on the cpu queue, and workers that take their jobs. A request's id
    begins with the name of its key."""

    def __init__(self, context: Runtime) -> None:
        self.context = context
        self.queue = context.jobs.queue(CPU)
        self.workers: list[SimpleWorker] = []

    def hire(self, count: int = 1) -> None:
        for _ in range(count):
            worker = SimpleWorker([self.queue], name=uuid4().hex, connection=self.context.redis)
            worker.register_birth()
            self.workers.append(worker)

    def submit(self, key: str, number: int = 0) -> None:
        requests, name = self.context.requests, f"{key}{number}-{uuid4().hex}"
        requests.submit(name, key, {}, {}, requests.expiry(), account=Account(key))
        self.context.jobs.enqueue(name, Stage.PREPARE)

    def waiting(self) -> list[str]:
        return [job.partition("-")[0] for job in self.queue.job_ids]

    def take(
        self, queue: type[FairQueue] = FairQueue, timeout: int | None = None, start: bool = True
    ) -> str | None:
        """The request whose job a worker takes next; start: and begins with."""
        taken = queue.dequeue_any(
            [self.queue], timeout, self.context.redis, serializer=JSONSerializer
        )
        if taken is None:
            return None
        job, _ = taken
        if start:
            worker = self.workers[0]
            worker.prepare_execution(job)
            worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
        return job.id.partition("-")[0]

    def end(self, name: str) -> None:
        """As RQ does when a job has ended."""
        worker = self.workers[0]
        for execution in list(worker.executions.values()):
            if execution.job_id.startswith(f"{name}-"):
                with self.context.redis.pipeline() as pipeline:
                    worker.cleanup_execution(execution.job, pipeline, execution)
                    pipeline.execute()


@pytest.fixture
def rig(worker_runtime: Runtime) -> Iterator[Rig]:
    made = Rig(worker_runtime)
    yield made
    for worker in made.workers:
        worker.register_death()


def test_a_key_that_runs_nothing_comes_first(rig: Rig) -> None:
    rig.hire(4)
    for number in range(3):
        rig.submit("a", number)
    assert rig.take() == "a0"
    rig.submit("b")
    rig.submit("c")
    assert [rig.take(), rig.take(), rig.take()] == ["b0", "c0", "a1"]


STARTED = [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)]


@pytest.mark.parametrize(
    ("workers", "bound", "start"),
    [(0, 1, False), *((*one, start) for one in STARTED for start in (True, False))],
)
def test_a_key_gets_at_most_half_of_the_workers(
    rig: Rig, workers: int, bound: int, start: bool
) -> None:
    """Also while those that took its jobs have not begun (start: False)."""
    rig.hire(workers)
    for number in range(9):
        rig.submit("a", number)
    taken = [rig.take(start=start) for _ in range(9)]
    assert taken == [f"a{number}" for number in range(bound)] + [None] * (9 - bound)
    rig.submit("b")
    assert rig.take(start=start) == "b0"


def test_what_one_worker_does_at_the_same_time_counts(rig: Rig) -> None:
    rig.hire(2)
    for number in range(6):
        rig.submit("a", number)
    assert [rig.take(FourAtATime) for _ in range(5)] == ["a0", "a1", "a2", "a3", None]


def test_a_worker_that_is_silent_does_not_count(rig: Rig, redis: Redis) -> None:
    rig.hire(4)
    silent_since = utcformat(now() - timedelta(seconds=SILENT_S + 1))
    for worker in rig.workers[:2]:
        redis.hset(worker.key, "last_heartbeat", silent_since)
    for number in range(3):
        rig.submit("a", number)
    assert [rig.take(), rig.take()] == ["a0", None]


def test_a_key_goes_on_when_one_of_its_jobs_has_ended(rig: Rig) -> None:
    rig.hire(2)
    rig.submit("a", 0)
    rig.submit("a", 1)
    assert [rig.take(), rig.take()] == ["a0", None]
    rig.end("a0")
    assert rig.take() == "a1"


def test_a_job_that_comes_while_a_worker_waits_is_left_if_its_key_is_at_its_bound(
    rig: Rig,
) -> None:
    """And taken as soon as the key has room; meanwhile another key's job passes."""
    rig.hire(2)
    rig.submit("a", 0)
    assert rig.take() == "a0"
    with ThreadPoolExecutor(1) as thread:
        next_one = thread.submit(rig.take, timeout=60)
        rig.submit("a", 1)
        rig.submit("b", 0)
        assert next_one.result(60) == "b0"
        next_one = thread.submit(rig.take, timeout=60)
        until(lambda: rig.waiting() == ["a1"])
        rig.end("a0")
        assert next_one.result(60) == "a1"
    assert rig.waiting() == []


@pytest.mark.parametrize("at_bound", [False, True], ids=["empty", "only of a key at its bound"])
def test_waiting_ends_after_its_time(rig: Rig, at_bound: bool) -> None:
    rig.hire(2)
    if at_bound:
        rig.submit("a", 0)
        rig.submit("a", 1)
        assert rig.take() == "a0"
    with pytest.raises(DequeueTimeout):
        rig.take(timeout=1)
    assert rig.waiting() == (["a1"] if at_bound else [])


def test_a_job_of_no_request_is_taken(rig: Rig) -> None:
    rig.hire(2)
    for name in ("tell-1", "unknown"):
        rig.queue.enqueue("worker.ended.tell", job_id=name)
    assert [rig.take(), rig.take(start=False)] == ["tell", None]

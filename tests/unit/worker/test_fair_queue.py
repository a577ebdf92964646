"""The fair queue: which job a worker takes, so that no key occupies all workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from app.core.queueing.jobs import CPU, GPU
from app.core.requests.record import Stage
from app.core.requests.store import Account
from tests.support.records import PARAMS, SOURCE
from tests.support.waiting import until
from worker import fair_queue
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
        requests.submit(name, key, PARAMS, SOURCE, requests.expiry(), account=Account(key))
        self.context.jobs.enqueue(name, Stage.PREPARE)

    def waiting(self) -> list[str]:
        return [job.partition("-")[0] for job in self.queue.job_ids]

    def take(
        self, queue: type[FairQueue] = FairQueue, timeout: int | None = None, start: bool = True
    ) -> str | None:
        """The request whose job a worker takes next. start: the worker also starts the job."""
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
    rig = Rig(worker_runtime)
    yield rig
    for worker in rig.workers:
        worker.register_death()


def test_a_key_without_running_jobs_comes_first(rig: Rig) -> None:
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
    """Also while the workers that took its jobs have not started them (start: False)."""
    rig.hire(workers)
    for number in range(9):
        rig.submit("a", number)
    taken = [rig.take(start=start) for _ in range(9)]
    assert taken == [f"a{number}" for number in range(bound)] + [None] * (9 - bound)
    rig.submit("b")
    assert rig.take(start=start) == "b0"


def test_the_slots_of_a_worker_count_for_the_bound_of_a_key(rig: Rig) -> None:
    rig.hire(2)
    for number in range(6):
        rig.submit("a", number)
    assert [rig.take(FourAtATime) for _ in range(5)] == ["a0", "a1", "a2", "a3", None]


def test_a_silent_worker_does_not_count_for_the_bound_of_a_key(rig: Rig, redis: Redis) -> None:
    rig.hire(4)
    silent_since = utcformat(now() - timedelta(seconds=16))
    for worker in rig.workers[:2]:
        redis.hset(worker.key, "last_heartbeat", silent_since)
    for number in range(3):
        rig.submit("a", number)
    assert [rig.take(), rig.take()] == ["a0", None]


def test_a_key_runs_its_next_job_when_one_of_its_jobs_has_ended(rig: Rig) -> None:
    rig.hire(2)
    rig.submit("a", 0)
    rig.submit("a", 1)
    assert [rig.take(), rig.take()] == ["a0", None]
    rig.end("a0")
    assert rig.take() == "a1"


def test_a_waiting_worker_leaves_a_new_job_of_a_key_at_its_bound(
    rig: Rig,
) -> None:
    """It is taken once the key is below its bound; until then another key's job overtakes it."""
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
def test_waiting_for_a_job_ends_after_the_timeout(rig: Rig, at_bound: bool) -> None:
    rig.hire(2)
    if at_bound:
        rig.submit("a", 0)
        rig.submit("a", 1)
        assert rig.take() == "a0"
    with pytest.raises(DequeueTimeout):
        rig.take(timeout=1)
    assert rig.waiting() == (["a1"] if at_bound else [])


def test_a_background_job_is_taken(rig: Rig) -> None:
    rig.hire(2)
    for name in ("tell-1", "unknown"):
        rig.queue.enqueue("worker.ended.tell", job_id=name)
    assert [rig.take(), rig.take(start=False)] == ["tell", None]


@pytest.mark.parametrize(("before", "taken"), [(1023, "b0"), (1024, None)])
def test_a_worker_examines_the_first_1024_jobs(
    rig: Rig, redis: Redis, before: int, taken: str | None
) -> None:
    rig.hire(2)
    rig.submit("a")
    assert rig.take() == "a0"
    rig.submit("b")
    [last] = rig.queue.job_ids
    first = rig.workers[0].executions.values()
    running = next(iter(first)).job_id
    redis.lpush(rig.queue.key, *[running] * before)  # of the key that is at its bound
    assert rig.take() == taken
    assert (last in rig.queue.job_ids) is (taken is None)


def test_a_job_that_is_both_taken_and_started_counts_once(rig: Rig) -> None:
    """RQ adds it to the started jobs before it removes it from the intermediate queue."""
    rig.hire(4)
    for number in range(3):
        rig.submit("a", number)
    assert rig.take(start=False) == "a0"
    job = rig.queue.fetch_job(rig.queue.intermediate_queue.get_job_ids()[0])
    assert job is not None
    rig.workers[0].prepare_execution(job)
    assert [rig.take(), rig.take()] == ["a1", None]


class WithDownstream(FairQueue):
    downstream = GPU


def test_jobs_that_wait_downstream_count_as_running(rig: Rig) -> None:
    rig.hire(4)
    for number in range(3):
        rig.submit("a", number)
        rig.context.jobs.enqueue(rig.queue.job_ids[number].removesuffix("-prepare"), Stage.GENERATE)
    rig.submit("b")
    assert rig.take(WithDownstream) == "b0"
    assert rig.take(WithDownstream) is None
    rig.context.jobs.queue(GPU).empty()
    assert rig.take(WithDownstream) == "a0"


def test_a_job_that_is_put_back_is_first_in_the_queue_again(
    rig: Rig, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BLMOVE gives a waiting worker the next job whatever its key; another job arrives before the
    worker has put it back."""
    rig.hire(4)
    rig.submit("a", 0)
    rig.submit("a", 1)
    assert [rig.take(), rig.take()] == ["a0", "a1"]
    block = redis.blmove

    def comes_meanwhile(*args: Any) -> Any:
        rig.submit("a", 2)
        job = block(*args)
        rig.submit("a", 3)
        rig.submit("b", 0)
        return job

    monkeypatch.setattr(redis, "blmove", comes_meanwhile)
    queue_and_job = FairQueue.lmove(redis, rig.queue.key, 60)
    assert queue_and_job is not None
    assert queue_and_job[1].startswith(b"b0")
    assert rig.waiting() == ["a2", "a3"]


class Clock:
    """A clock that advances only in sleep()."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_a_free_worker_polls_ten_times_a_second(
    rig: Rig, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(fair_queue, "time", clock)
    rig.hire(2)
    rig.submit("a", 0)
    rig.submit("a", 1)
    assert rig.take() == "a0"
    with pytest.raises(DequeueTimeout) as waited:
        FairQueue.lmove(redis, rig.queue.key, 2)
    assert waited.value.args == (2, rig.queue.key)
    assert clock.slept[:19] == [pytest.approx(0.1)] * 19
    assert sum(clock.slept) == pytest.approx(2)

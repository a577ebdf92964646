"""Leases: which jobs are re-queued after the death of a worker, and when."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import cast

import pytest
import rq.executions
import rq.registry
import rq.worker.base
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import current_timestamp, now
from rq.worker_registration import unregister

from app.core.errors import Cancelled
from app.core.lifecycle.cancellation import cancel
from app.core.queueing.jobs import GPU
from app.core.queueing.workers import live_workers
from app.core.requests.record import Stage, Status
from tests.support.records import PARAMS, SOURCE
from tests.support.redis_keys import mentions
from worker import lease
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime

REQUEST, NEXT = "a" * 32, "b" * 32
JOB, NEXT_JOB = f"{REQUEST}-generate", f"{NEXT}-generate"


class Clock:
    """The clocks that leases and maintenance use; the test moves them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.elapsed_s = 0.0
        self._began, self._began_s = now(), current_timestamp()
        patch.setattr(lease, "time", self)
        patch.setattr(rq.worker.base, "now", self.now)
        for module in (rq.registry, rq.executions):
            patch.setattr(module, "current_timestamp", self.timestamp)

    def monotonic(self) -> float:
        return 1000 + self.elapsed_s

    def now(self) -> object:
        return self._began + timedelta(seconds=self.elapsed_s)

    def timestamp(self) -> int:
        return int(self._began_s + self.elapsed_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stub of worker.generate, whose function each test sets."""
    module = ModuleType("worker.generate")
    vars(module)["generate"] = lambda _request: None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def queue(worker_runtime: Runtime) -> Queue:
    return worker_runtime.jobs.queue(GPU)


Hire = Callable[[], GpuWorker]


@pytest.fixture
def hire(worker_runtime: Runtime, queue: Queue) -> Iterator[Hire]:
    """Make workers as worker.main does."""
    hired: list[GpuWorker] = []

    def new_worker() -> GpuWorker:
        worker = GpuWorker(
            [queue],
            connection=worker_runtime.redis,
            serializer=JSONSerializer,
            worker_ttl=17,
            maintenance_interval=2,
        )
        hired.append(worker)
        return worker

    yield new_worker
    for worker in hired:
        worker.teardown()


def take(worker: GpuWorker) -> Job:
    """Take the next job without starting it, as a worker that is killed in between."""
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    return job_and_queue[0]


def start(worker: GpuWorker) -> Job:
    """Take and start the next job, as a worker that is killed during the job."""
    job = take(worker)
    worker.prepare_execution(job)
    worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
    return job


def run(worker: GpuWorker, queue: Queue) -> Job:
    """Take the next job and run it to its end."""
    job = take(worker)
    worker.execute_job(job, queue)
    return job


def maintain(worker: GpuWorker, clock: Clock, elapsed_s: float) -> None:
    """Run a worker's maintenance at that time."""
    clock.elapsed_s = elapsed_s
    worker.clean_registries()


@pytest.fixture
def taken(worker_runtime: Runtime, queue: Queue, hire: Hire) -> Job:
    """The first of two jobs is taken by a worker that dies before it starts it."""
    for request_id in (REQUEST, NEXT):
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    job = take(hire())
    assert (queue.intermediate_queue.get_job_ids(), queue.job_ids) == ([JOB], [NEXT_JOB])
    return job


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("elapsed_s", "waits"), [(0.0, False), (4.9, False), (5.0, True)])
def test_a_job_that_was_never_started_is_re_queued_first_after_five_seconds(
    queue: Queue, hire: Hire, clock: Clock, elapsed_s: float, waits: bool
) -> None:
    worker = hire()
    maintain(worker, clock, 0)
    maintain(worker, clock, elapsed_s)
    assert queue.job_ids == ([JOB, NEXT_JOB] if waits else [NEXT_JOB])
    assert queue.intermediate_queue.get_job_ids() == ([] if waits else [JOB])


@pytest.mark.usefixtures("taken")
def test_the_time_of_an_unstarted_job_counts_from_the_first_maintenance_that_sees_it(
    queue: Queue, hire: Hire, clock: Clock
) -> None:
    worker = hire()
    maintain(worker, clock, 100)
    maintain(worker, clock, 104.9)
    assert queue.job_ids == [NEXT_JOB]
    maintain(worker, clock, 105)
    assert queue.job_ids == [JOB, NEXT_JOB]


def test_a_job_that_is_started_is_not_put_back(
    queue: Queue, hire: Hire, clock: Clock, taken: Job
) -> None:
    """RQ adds it to the started jobs before it removes it from the intermediate queue."""
    worker = hire()
    maintain(worker, clock, 0)
    hire().prepare_execution(taken)
    maintain(worker, clock, 5)
    assert queue.job_ids == [NEXT_JOB]
    assert queue.intermediate_queue.get_job_ids() == [JOB]


@pytest.mark.usefixtures("taken")
def test_an_unstarted_job_has_five_seconds_each_time_it_is_taken(
    queue: Queue, hire: Hire, clock: Clock
) -> None:
    worker = hire()
    maintain(worker, clock, 0)
    maintain(worker, clock, 5)
    take(hire())
    maintain(worker, clock, 7)
    assert queue.job_ids == [NEXT_JOB]
    maintain(worker, clock, 11.9)
    assert queue.job_ids == [NEXT_JOB]
    maintain(worker, clock, 12)
    assert queue.job_ids == [JOB, NEXT_JOB]


Meanwhile = Callable[[GpuWorker, Job], object]


def another_puts_it_back(other: GpuWorker, _taken: Job) -> None:
    other.clean_registries()


def its_worker_starts_it(other: GpuWorker, taken: Job) -> None:
    other.prepare_execution(taken)
    other.prepare_job_execution(taken, remove_from_intermediate_queue=True)


@pytest.mark.parametrize(
    ("meanwhile", "waiting"),
    [(another_puts_it_back, [JOB, NEXT_JOB]), (its_worker_starts_it, [NEXT_JOB])],
)
def test_a_job_that_changed_during_maintenance_is_not_put_back_a_second_time(
    queue: Queue,
    hire: Hire,
    clock: Clock,
    taken: Job,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    meanwhile: Meanwhile,
    waiting: list[str],
) -> None:
    """It is queued once, and not at all when its worker was only slow."""
    worker, other = hire(), hire()
    maintain(worker, clock, 0)
    maintain(other, clock, 0)
    clock.elapsed_s = 5
    started, looks = StartedJobRegistry.__contains__, iter([meanwhile])

    def look_then_wait(registry: StartedJobRegistry, item: str) -> bool:
        found = bool(started(registry, item))
        next(looks, lambda *_: None)(other, taken)
        return found

    monkeypatch.setattr(StartedJobRegistry, "__contains__", look_then_wait)
    worker.clean_registries()
    assert queue.job_ids == waiting
    assert queue.intermediate_queue.get_job_ids() == []
    logged = f"job {JOB}: its worker died before starting it; re-queued"
    assert caplog.messages.count(logged) == len(waiting) - 1


@pytest.mark.usefixtures("taken")
def test_a_job_that_was_put_back_has_no_trace_of_being_taken(
    queue: Queue, hire: Hire, clock: Clock, redis: Redis
) -> None:
    """RQ would give up a job that it has seen taken before, while its next worker starts it."""
    worker = hire()
    maintain(worker, clock, 0)
    assert any("first_seen" in key for key in mentions(redis, [REQUEST]))
    maintain(worker, clock, 5)
    about = {key for key in mentions(redis, [REQUEST]) if not key.startswith("turns:")}
    assert about == {queue.key, f"rq:job:{JOB}"}


@pytest.mark.usefixtures("taken")
def test_a_job_that_has_expired_is_not_put_back(
    queue: Queue, hire: Hire, clock: Clock, redis: Redis
) -> None:
    worker = hire()
    redis.delete(f"rq:job:{JOB}")
    for elapsed_s in (0, 5, 10):
        maintain(worker, clock, elapsed_s)
    assert queue.job_ids == [NEXT_JOB]
    assert queue.intermediate_queue.get_job_ids() == []


def test_a_job_of_a_request_that_has_ended_is_put_back_and_does_nothing(
    worker_runtime: Runtime, queue: Queue, hire: Hire, clock: Clock, job: ModuleType
) -> None:
    requests, jobs = worker_runtime.requests, worker_runtime.jobs
    requests.submit(REQUEST, "a", PARAMS, SOURCE, requests.expiry(), stage=Stage.GENERATE)
    jobs.enqueue(REQUEST, Stage.GENERATE)
    take(hire())
    parts = requests, jobs, worker_runtime.blobs, worker_runtime.background_jobs
    assert cancel(*parts, REQUEST, Cancelled())
    worker = hire()
    for elapsed_s in (0, 5):
        maintain(worker, clock, elapsed_s)
    claims: list[object] = []
    vars(job)["generate"] = lambda one: claims.append(requests.claim(one, Stage.GENERATE, "e"))
    assert run(worker, queue).get_status() is JobStatus.FINISHED
    assert claims == ["ended"]
    record = requests.get(REQUEST)
    assert record is not None
    assert (record.status, record.error) == (Status.FAILED, "cancelled")
    assert queue.job_ids == queue.intermediate_queue.get_job_ids() == []


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(("elapsed_s", "waits"), [(0, False), (6, False), (7, True)])
def test_the_lease_of_a_started_job_lasts_seven_seconds(
    worker_runtime: Runtime, queue: Queue, hire: Hire, clock: Clock, elapsed_s: int, waits: bool
) -> None:
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    worker_runtime.jobs.enqueue(NEXT, Stage.GENERATE)
    start(hire())
    maintain(hire(), clock, elapsed_s)
    assert queue.job_ids == ([JOB, NEXT_JOB] if waits else [NEXT_JOB])


def test_a_lease_does_not_depend_on_the_time_that_the_job_may_take(
    worker_runtime: Runtime, hire: Hire
) -> None:
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    worker = hire()
    taken = take(worker)
    assert taken.timeout == 3000
    assert [worker.get_heartbeat_ttl(taken, worked_s) for worked_s in (0.0, 2999.0)] == [7, 7]


def waits_again_after(worker: GpuWorker, queue: Queue, clock: Clock, first_look_s: float) -> float:
    """Seconds until a job is queued again, with an idle worker whose first maintenance is at that
    time. An idle worker blocks as long as RQ says and then runs maintenance if it is due."""
    block_s = worker.dequeue_timeout + 0.01
    clock.elapsed_s = first_look_s
    while not queue.job_ids:
        assert clock.elapsed_s < 30
        if worker.should_run_maintenance_tasks:
            worker.run_maintenance_tasks()
        if not queue.job_ids:
            clock.elapsed_s += block_s
    return clock.elapsed_s


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("first_look_s", "started_s", "unstarted_s"), [(0.0, 8.04, 6.03), (1.5, 7.53, 7.53)]
)
@pytest.mark.parametrize("started", [True, False])
def test_the_job_of_a_killed_worker_is_re_queued_within_ten_seconds(
    worker_runtime: Runtime,
    queue: Queue,
    hire: Hire,
    clock: Clock,
    first_look_s: float,
    started_s: float,
    unstarted_s: float,
    started: bool,
) -> None:
    """After seven seconds, or five, plus the longest block of an idle worker; twice that if the
    first maintenance did not see the job."""
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    start(hire()) if started else take(hire())
    expected_s = started_s if started else unstarted_s
    assert waits_again_after(hire(), queue, clock, first_look_s) == pytest.approx(expected_s)


@pytest.mark.parametrize(("left_s", "shortened_s"), [(899, 5), (6, 5), (5, 5), (3, 3)])
def test_the_maintenance_lock_of_a_killed_worker_lasts_five_seconds(
    redis: Redis, hire: Hire, queue: Queue, left_s: int, shortened_s: int
) -> None:
    redis.set(queue.registry_cleaning_key, 1, ex=left_s)
    hire().clean_registries()
    left_ms = cast(int, redis.pttl(queue.registry_cleaning_key))
    assert shortened_s - 1 < left_ms / 1000 <= shortened_s


def expire_leases(redis: Redis, key: str) -> None:
    leases = cast(list[bytes], redis.zrange(key, 0, -1))
    redis.zadd(key, dict.fromkeys(leases, 1))


@pytest.mark.parametrize("has_a_rest", [True, False])
def test_a_worker_whose_lease_has_expired_does_not_end_the_job(
    hire: Hire, queue: Queue, worker_runtime: Runtime, job: ModuleType, has_a_rest: bool
) -> None:
    """Otherwise the job is lost when its second worker dies too."""
    first, second = hire(), hire()
    redis, leases = worker_runtime.redis, queue.started_job_registry.key

    def lose_the_lease() -> None:
        expire_leases(redis, leases)
        second.clean_registries()
        start(second)

    vars(job)["generate"] = lambda _request: lose_the_lease if has_a_rest else lose_the_lease()
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    done = run(first, queue)
    worker_runtime.background_thread.flush()
    assert done.get_status() is JobStatus.STARTED
    assert not first.executions
    expire_leases(redis, leases)
    first.clean_registries()
    assert queue.job_ids == [JOB]


@pytest.mark.parametrize("has_a_rest", [True, False])
def test_a_worker_that_holds_the_lease_ends_the_job(
    hire: Hire, queue: Queue, worker_runtime: Runtime, job: ModuleType, has_a_rest: bool
) -> None:
    vars(job)["generate"] = lambda _request: (lambda: None) if has_a_rest else None
    worker_runtime.jobs.enqueue(REQUEST, Stage.GENERATE)
    worker = hire()
    done = run(worker, queue)
    worker_runtime.background_thread.flush()
    assert done.get_status() is JobStatus.FINISHED
    assert not worker.executions
    assert worker_runtime.redis.zcard(queue.started_job_registry.key) == 0
    assert done.id in queue.finished_job_registry


def test_a_worker_that_was_removed_registers_again(hire: Hire, worker_runtime: Runtime) -> None:
    """After a silence of the worker or of Redis its hash has expired and others have removed it."""
    worker, redis = hire(), worker_runtime.redis
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    before = redis.hgetall(worker.key)
    redis.delete(worker.key)
    unregister(worker)
    assert live_workers(redis, GPU) == []
    worker.last_heartbeat = None
    worker.heartbeat()
    assert [live.name for live in live_workers(redis, GPU)] == [worker.name]
    assert redis.hgetall(worker.key).keys() == before.keys()


def test_the_registration_of_a_worker_expires(hire: Hire, redis: Redis) -> None:
    worker = hire()
    worker.announce()  # a worker that is not registered yet writes nothing
    assert not redis.exists(worker.key)
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    redis.delete(worker.key)
    worker.announce()
    assert 76 <= cast(int, redis.ttl(worker.key)) <= 77


def beats(worker: GpuWorker, redis: Redis) -> bool:
    """Whether a heartbeat that RQ requests between two jobs is written."""
    redis.hset(worker.key, "last_heartbeat", "")
    worker.heartbeat()
    return redis.hget(worker.key, "last_heartbeat") != b""


@pytest.mark.parametrize(("ago_s", "written"), [(0.0, False), (0.99, False), (1.0, True)])
def test_a_heartbeat_is_written_once_a_second_at_most(
    hire: Hire, redis: Redis, monkeypatch: pytest.MonkeyPatch, ago_s: float, written: bool
) -> None:
    worker, moment = hire(), now()
    monkeypatch.setattr(lease, "now", lambda: moment)
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    worker.last_heartbeat = moment - timedelta(seconds=ago_s)
    assert beats(worker, redis) is written


def test_a_heartbeat_with_a_timeout_or_in_a_pipeline_is_always_written(
    hire: Hire, redis: Redis
) -> None:
    worker = hire()
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    worker.heartbeat(5)
    assert redis.ttl(worker.key) == 77  # announced again
    redis.hset(worker.key, "last_heartbeat", "")
    with redis.pipeline() as pipeline:
        worker.heartbeat(pipeline=pipeline)
        assert len(pipeline) == 3  # RQ's own, and nothing more in the middle of a pipeline
        pipeline.execute()
    assert redis.hget(worker.key, "last_heartbeat") != b""


def test_a_work_horse_does_not_register_its_worker_again(hire: Hire, redis: Redis) -> None:
    worker = hire()
    worker.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
    redis.delete(worker.key)
    worker._is_horse = True
    worker.last_heartbeat = None
    worker.heartbeat()
    worker._is_horse = False
    assert redis.hkeys(worker.key) == [b"last_heartbeat"]


def test_a_workers_back_off_without_redis_is_a_second_at_most(hire: Hire) -> None:
    assert hire().max_connection_wait_time == 1.0

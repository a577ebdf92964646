"""The gpu worker: what it says of itself, and the end of a job beside the next one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from app.core.queueing.jobs import GPU
from app.core.requests.record import Stage
from worker import generate, in_process_worker
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

FIRST, SECOND = "a" * 32, "b" * 32

Rest = Callable[[], None]


@pytest.fixture
def worker(worker_runtime: Runtime) -> Iterator[GpuWorker]:
    queue = worker_runtime.jobs.queue(GPU)
    made = GpuWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    yield made
    made.teardown()


@pytest.mark.parametrize("pixels", [None, 4_000_000])
def test_it_says_what_its_card_can_do_as_long_as_it_lives(
    worker_runtime: Runtime, pixels: int | None
) -> None:
    jobs, checkpoint = worker_runtime.jobs, SimpleNamespace(max_pixels=pixels)
    worker_runtime.checkpoint = checkpoint  # type: ignore[assignment]
    worker = GpuWorker(
        [jobs.queue(GPU)], connection=worker_runtime.redis, serializer=JSONSerializer
    )
    assert jobs.max_pixels() is None
    worker.register_birth()
    assert jobs.workers(GPU) == 1
    assert jobs.max_pixels() == pixels
    worker.register_death()
    assert jobs.max_pixels() is None


@pytest.fixture
def rests(worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Rest | None]:
    """Two jobs wait; each returns what the test puts here for its request."""
    found: dict[str, Rest | None] = {FIRST: None, SECOND: None}
    monkeypatch.setattr(generate, "generate", found.__getitem__)
    for request_id in (FIRST, SECOND):
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    return found


def step(worker: GpuWorker) -> None:
    """One round of RQ's loop."""
    found = worker.dequeue_job_and_maintain_ttl(None)
    if found is not None:
        worker.execute_job(*found)


def status(context: Runtime, request_id: str) -> JobStatus:
    job = context.jobs.queue(GPU).fetch_job(f"{request_id}-generate")
    assert job is not None
    return job.get_status()


def in_hand(worker: GpuWorker) -> list[str]:
    return [execution.job_id[:32] for execution in worker.executions.values()]


def test_a_job_without_a_rest_ends_at_once(
    worker: GpuWorker, worker_runtime: Runtime, rests: dict[str, Rest | None]
) -> None:
    assert rests[FIRST] is None
    step(worker)
    assert status(worker_runtime, FIRST) is JobStatus.FINISHED
    assert in_hand(worker) == []


def test_a_job_is_not_finished_before_its_rest_is(
    worker: GpuWorker, worker_runtime: Runtime, rests: dict[str, Rest | None]
) -> None:
    begun, go, last = threading.Event(), threading.Event(), threading.Event()

    def rest() -> None:
        begun.set()
        go.wait()

    def last_rest() -> None:
        last.wait()

    rests[FIRST], rests[SECOND] = rest, last_rest
    step(worker)
    assert not begun.is_set()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    worker_runtime.background_thread.begin()  # as the second job does once it has the device
    begun.wait()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    assert in_hand(worker) == [FIRST]
    go.set()
    worker.execute_job(*found)
    assert status(worker_runtime, FIRST) is JobStatus.FINISHED
    assert status(worker_runtime, SECOND) is JobStatus.STARTED
    last.set()
    worker.teardown()
    assert status(worker_runtime, SECOND) is JobStatus.FINISHED
    assert in_hand(worker) == []


def test_without_a_next_job_the_rest_is_done_at_once(
    worker: GpuWorker, rests: dict[str, Rest | None]
) -> None:
    done = threading.Event()
    rests[SECOND] = done.set
    step(worker)
    step(worker)
    assert done.wait(60)


def test_when_another_worker_took_the_next_job_the_rest_is_done(
    worker: GpuWorker, worker_runtime: Runtime, rests: dict[str, Rest | None]
) -> None:
    done = threading.Event()
    rests[FIRST] = done.set
    step(worker)
    assert not done.is_set()
    worker_runtime.jobs.queue(GPU).empty()
    step(worker)
    assert done.wait(60)


def test_a_job_that_never_has_the_device_does_not_hold_up_the_last_one(
    worker: GpuWorker, rests: dict[str, Rest | None]
) -> None:
    done = threading.Event()
    rests[FIRST] = done.set
    step(worker)
    step(worker)
    assert done.wait(60)


def test_a_rest_that_fails_leaves_the_job_to_the_next_worker(
    worker: GpuWorker, worker_runtime: Runtime, rests: dict[str, Rest | None]
) -> None:
    def rest() -> None:
        raise RedisConnectionError("away")

    rests[FIRST] = rest
    step(worker)
    worker_runtime.background_thread.settle()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    assert in_hand(worker) == []  # nobody renews its lease
    queue, redis = worker_runtime.jobs.queue(GPU), worker_runtime.redis
    (lease,) = redis.zrange(queue.started_job_registry.key, 0, -1)
    redis.zadd(queue.started_job_registry.key, {lease: 1})
    worker.clean_registries()
    assert queue.job_ids == [f"{FIRST}-generate", f"{SECOND}-generate"]


def test_the_lease_of_every_job_in_hand_is_renewed(
    worker: GpuWorker,
    worker_runtime: Runtime,
    rests: dict[str, Rest | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one whose rest is being done, too."""
    renewed = {FIRST: threading.Event(), SECOND: threading.Event()}

    def heartbeat(job: Job, _execution: object) -> None:
        renewed[job.id[:32]].set()

    monkeypatch.setattr(worker, "maintain_heartbeats", heartbeat)
    monkeypatch.setattr(in_process_worker, "BEAT_S", 0.01)
    rests[FIRST] = lambda: None

    def second(_request_id: str) -> None:
        assert renewed[FIRST].wait(60)
        assert renewed[SECOND].wait(60)

    def job(request_id: str) -> Rest | None:
        return second(request_id) if request_id == SECOND else rests[request_id]

    monkeypatch.setattr(generate, "generate", job)
    assert worker.work(burst=True, logging_level="WARNING")
    assert status(worker_runtime, SECOND) is JobStatus.FINISHED


def test_a_job_that_outlasts_the_grace_period_is_put_back(
    worker: GpuWorker, worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One SIGTERM is enough: the worker asks itself a second time."""
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"grace_s": 3})
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

    def endless(_request_id: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()

    monkeypatch.setattr(generate, "generate", endless)
    worker_runtime.jobs.enqueue(FIRST, Stage.GENERATE)
    try:
        worker.work(logging_level="ERROR")
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    assert worker_runtime.jobs.queue(GPU).job_ids == [f"{FIRST}-generate"]
    assert status(worker_runtime, FIRST) is JobStatus.QUEUED

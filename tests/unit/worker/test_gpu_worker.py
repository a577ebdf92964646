"""The gpu worker: the fields it publishes, and deferred work that runs during the next job."""

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

DeferredWork = Callable[[], None]


@pytest.fixture
def worker(worker_runtime: Runtime) -> Iterator[GpuWorker]:
    queue = worker_runtime.jobs.queue(GPU)
    worker = GpuWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    yield worker
    worker.teardown()


@pytest.mark.parametrize("pixels", [None, 4_000_000])
def test_a_gpu_worker_publishes_the_largest_picture_of_its_card_while_registered(
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
def deferred(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> dict[str, DeferredWork | None]:
    """Two jobs wait; each returns the deferred work that the test sets here for its request."""
    by_request: dict[str, DeferredWork | None] = {FIRST: None, SECOND: None}
    monkeypatch.setattr(generate, "generate", by_request.__getitem__)
    for request_id in (FIRST, SECOND):
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    return by_request


def step(worker: GpuWorker) -> None:
    """One round of RQ's loop."""
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    if job_and_queue is not None:
        worker.execute_job(*job_and_queue)


def status(context: Runtime, request_id: str) -> JobStatus:
    job = context.jobs.queue(GPU).fetch_job(f"{request_id}-generate")
    assert job is not None
    return job.get_status()


def in_flight(worker: GpuWorker) -> list[str]:
    return [execution.job_id[:32] for execution in worker.executions.values()]


def test_a_job_without_deferred_work_ends_at_once(
    worker: GpuWorker, worker_runtime: Runtime, deferred: dict[str, DeferredWork | None]
) -> None:
    assert deferred[FIRST] is None
    step(worker)
    assert status(worker_runtime, FIRST) is JobStatus.FINISHED
    assert in_flight(worker) == []


def test_a_job_is_not_finished_before_its_deferred_work_is(
    worker: GpuWorker, worker_runtime: Runtime, deferred: dict[str, DeferredWork | None]
) -> None:
    started, go, last = threading.Event(), threading.Event(), threading.Event()

    def first_part() -> None:
        started.set()
        go.wait()

    def second_part() -> None:
        last.wait()

    deferred[FIRST], deferred[SECOND] = first_part, second_part
    step(worker)
    assert not started.is_set()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    worker_runtime.background_thread.start()  # as the second job does once it has the device
    started.wait()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    assert in_flight(worker) == [FIRST]
    go.set()
    worker.execute_job(*job_and_queue)
    assert status(worker_runtime, FIRST) is JobStatus.FINISHED
    assert status(worker_runtime, SECOND) is JobStatus.STARTED
    last.set()
    worker.teardown()
    assert status(worker_runtime, SECOND) is JobStatus.FINISHED
    assert in_flight(worker) == []


def test_without_a_next_job_deferred_work_starts_at_once(
    worker: GpuWorker, deferred: dict[str, DeferredWork | None]
) -> None:
    done = threading.Event()
    deferred[SECOND] = done.set
    step(worker)
    step(worker)
    assert done.wait(60)


def test_deferred_work_starts_when_another_worker_took_the_next_job(
    worker: GpuWorker, worker_runtime: Runtime, deferred: dict[str, DeferredWork | None]
) -> None:
    done = threading.Event()
    deferred[FIRST] = done.set
    step(worker)
    assert not done.is_set()
    worker_runtime.jobs.queue(GPU).empty()
    step(worker)
    assert done.wait(60)


def test_a_job_that_never_uses_the_device_starts_the_deferred_work_of_the_last_one(
    worker: GpuWorker, deferred: dict[str, DeferredWork | None]
) -> None:
    done = threading.Event()
    deferred[FIRST] = done.set
    step(worker)
    step(worker)
    assert done.wait(60)


def test_deferred_work_that_fails_leaves_the_job_to_the_next_worker(
    worker: GpuWorker, worker_runtime: Runtime, deferred: dict[str, DeferredWork | None]
) -> None:
    def first_part() -> None:
        raise RedisConnectionError("away")

    deferred[FIRST] = first_part
    step(worker)
    worker_runtime.background_thread.flush()
    assert status(worker_runtime, FIRST) is JobStatus.STARTED
    assert in_flight(worker) == []  # its lease is no longer renewed
    queue, redis = worker_runtime.jobs.queue(GPU), worker_runtime.redis
    (lease,) = redis.zrange(queue.started_job_registry.key, 0, -1)
    redis.zadd(queue.started_job_registry.key, {lease: 1})
    worker.clean_registries()
    assert queue.job_ids == [f"{FIRST}-generate", f"{SECOND}-generate"]


def test_the_lease_of_every_in_flight_job_is_renewed(
    worker: GpuWorker,
    worker_runtime: Runtime,
    deferred: dict[str, DeferredWork | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Including the lease of a job whose deferred work is running."""
    renewed = {FIRST: threading.Event(), SECOND: threading.Event()}

    def heartbeat(job: Job, _execution: object) -> None:
        renewed[job.id[:32]].set()

    monkeypatch.setattr(worker, "maintain_heartbeats", heartbeat)
    monkeypatch.setattr(in_process_worker, "BEAT_S", 0.01)
    deferred[FIRST] = lambda: None

    def second(_request_id: str) -> None:
        assert renewed[FIRST].wait(60)
        assert renewed[SECOND].wait(60)

    def job(request_id: str) -> DeferredWork | None:
        return second(request_id) if request_id == SECOND else deferred[request_id]

    monkeypatch.setattr(generate, "generate", job)
    assert worker.work(burst=True, logging_level="WARNING")
    assert status(worker_runtime, SECOND) is JobStatus.FINISHED


def test_a_job_that_outlasts_the_grace_period_is_put_back(
    worker: GpuWorker, worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One SIGTERM is enough: the worker signals itself after the grace period."""
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"grace_s": 3})
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}

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

"""The failure of a request whose job RQ has given up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import cast

import pytest
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from app.core.queueing.jobs import CPU, GPU
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import StageResult
from tests.support.records import PARAMS, SOURCE
from worker.abandoned import fail_request
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime
from worker.stage import run_stage

ID = "c" * 32
TEXT = "Internal error: the workers that took this request did not survive"


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """A worker with one submitted request."""
    requests = worker_runtime.requests
    requests.submit(ID, "a", PARAMS, SOURCE, requests.expiry())
    return worker_runtime


def record(context: Runtime) -> RequestRecord:
    stored = context.requests.get(ID)
    assert stored is not None
    return stored


def queued(context: Runtime) -> Job:
    context.jobs.enqueue(ID, Stage.PREPARE)
    job = context.jobs.queue(CPU).fetch_job(f"{ID}-prepare")
    assert job is not None
    return job


@pytest.mark.parametrize(
    ("retries_left", "ended"), [(2, False), (1, False), (0, True), (None, True)]
)
def test_a_request_ends_when_its_job_has_no_retries_left(
    context: Runtime, retries_left: int | None, ended: bool
) -> None:
    job = queued(context)
    job.retries_left = retries_left
    fail_request(job, context.redis, None, None, None)
    assert (record(context).status is Status.FAILED) == ended
    assert record(context).error == (TEXT if ended else None)
    assert record(context).error_status == 500


def test_an_abandoned_job_whose_stage_had_advanced_does_not_end_its_request(
    context: Runtime,
) -> None:
    """Its last execution advanced the request, then died before RQ recorded the job's success."""
    job = queued(context)
    run_stage(ID, Stage.PREPARE, lambda *_: StageResult())
    job.retries_left = 0
    fail_request(job, context.redis, None, None, None)
    assert record(context).status is Status.QUEUED


@pytest.fixture
def worker(context: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuWorker]:
    monkeypatch.setitem(sys.modules, "worker.generate", ModuleType("worker.generate"))
    worker = GpuWorker(
        [context.jobs.queue(GPU)], connection=context.redis, serializer=JSONSerializer
    )
    yield worker
    worker.teardown()


def die_with_a_job(context: Runtime, worker: GpuWorker) -> None:
    """Take and start a job; then its lease expires."""
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    worker.prepare_execution(job_and_queue[0])
    worker.prepare_job_execution(job_and_queue[0], remove_from_intermediate_queue=True)
    worker.executions.clear()
    leases = job_and_queue[1].started_job_registry.key
    names = cast(list[bytes], context.redis.zrange(leases, 0, -1))
    context.redis.zadd(leases, dict.fromkeys(names, 1))
    worker.clean_registries()


def test_a_request_survives_three_workers_and_ends_with_the_fourth(
    context: Runtime, worker: GpuWorker
) -> None:
    run_stage(ID, Stage.PREPARE, lambda *_: StageResult())
    queue = context.jobs.queue(GPU)
    for _ in range(3):
        die_with_a_job(context, worker)
        assert queue.job_ids == [f"{ID}-generate"]
        assert record(context).status is Status.QUEUED
    die_with_a_job(context, worker)
    assert queue.job_ids == []
    assert (record(context).status, record(context).error) == (Status.FAILED, TEXT)
    job = queue.fetch_job(f"{ID}-generate")
    assert job is not None
    assert job.get_status() is JobStatus.FAILED

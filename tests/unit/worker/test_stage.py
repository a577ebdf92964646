"""What an error inside a job means, and that a stage is safe to run twice."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.timeouts import JobTimeoutException

from app.core.errors import BlobsUnavailable, ImageRejected
from app.core.queue import CPU, FINISH, GPU
from app.core.record import RequestRecord, Stage, Status
from worker.abandoned import fail_request
from worker.runtime import Runtime
from worker.stage import STORE_PAUSE_S, Fields, LostClaim, run_stage

ID = "c" * 32


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """A worker with one submitted request."""
    requests = worker_runtime.requests
    requests.submit(ID, "a", {}, {}, requests.expiry())
    return worker_runtime


def record(context: Runtime) -> RequestRecord:
    found = context.requests.get(ID)
    assert found is not None
    return found


def nothing(_context: Runtime, _record: RequestRecord, _execution: str) -> Fields:
    return {"width": 10}


def raising(error: BaseException) -> Any:
    def work(_context: Runtime, _record: RequestRecord, _execution: str) -> Fields:
        raise error

    return work


def test_a_finished_stage_queues_the_next(context: Runtime) -> None:
    assert run_stage(ID, Stage.PREPARE, nothing)
    assert record(context).width == 10
    assert context.jobs.queue(GPU).job_ids == [f"{ID}-generate"]


def test_the_last_stage_completes(context: Runtime) -> None:
    for stage in (Stage.PREPARE, Stage.GENERATE, Stage.FINISH):
        assert run_stage(ID, stage, nothing)
    assert record(context).status is Status.COMPLETED


def test_a_fetched_picture_is_prepared_next(worker_runtime: Runtime) -> None:
    requests, jobs = worker_runtime.requests, worker_runtime.jobs
    requests.submit(ID, "a", {}, {}, requests.expiry(), stage=Stage.FETCH)
    assert run_stage(ID, Stage.FETCH, nothing)
    assert jobs.queue(CPU).job_ids == [f"{ID}-prepare"]


def test_a_stage_that_died_before_handing_on_only_hands_on(context: Runtime) -> None:
    context.requests.claim(ID, Stage.PREPARE, "died")
    context.requests.advance(ID, Stage.PREPARE, "died", {})
    assert not run_stage(ID, Stage.PREPARE, raising(AssertionError("must not run again")))
    assert context.jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert record(context).status is Status.QUEUED


@pytest.mark.parametrize("died", [False, True], ids=["handed on", "died before"])
def test_a_map_that_is_there_passes_the_gpu_by(worker_runtime: Runtime, died: bool) -> None:
    requests = worker_runtime.requests
    requests.submit(ID, "a", {"only_map": True}, {}, requests.expiry())
    if died:
        requests.claim(ID, Stage.PREPARE, "died")
        requests.advance(ID, Stage.GENERATE, "died", {"annotated": True})
    run_stage(ID, Stage.PREPARE, lambda *_: {"annotated": True})
    assert worker_runtime.jobs.queue(GPU).job_ids == []
    assert worker_runtime.jobs.queue(FINISH).job_ids == [f"{ID}-finish"]


def test_a_map_that_needs_a_detector_goes_to_the_gpu(worker_runtime: Runtime) -> None:
    requests = worker_runtime.requests
    requests.submit(ID, "a", {"only_map": True}, {}, requests.expiry())
    run_stage(ID, Stage.PREPARE, lambda *_: {"annotated": False})
    assert worker_runtime.jobs.queue(GPU).job_ids == [f"{ID}-generate"]


@pytest.mark.parametrize(
    ("error", "text", "status"),
    [
        (ImageRejected("image: bad"), "image: bad", 400),
        (JobTimeoutException("300"), "The request took longer than it may", 504),
        (ZeroDivisionError("secret detail"), "Internal error", 500),
    ],
)
def test_an_error_of_the_request_ends_it(
    context: Runtime, error: Exception, text: str, status: int
) -> None:
    context.blobs.put(f"{ID}:source", b"picture", context.requests.expiry())
    assert not run_stage(ID, Stage.PREPARE, raising(error))
    failed = record(context)
    assert (failed.status, failed.error, failed.error_status) == (Status.FAILED, text, status)
    assert context.jobs.queue(GPU).job_ids == []
    assert context.blobs.get(f"{ID}:source") is None


@pytest.mark.parametrize("error", [RedisConnectionError("away"), SystemExit()])
def test_an_error_of_the_infrastructure_leaves_the_request_alone(
    context: Runtime, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        run_stage(ID, Stage.PREPARE, raising(error))
    assert record(context).status is Status.QUEUED
    assert run_stage(ID, Stage.PREPARE, nothing)


def test_a_store_that_is_full_leaves_the_request_alone_and_is_not_asked_again_at_once(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("worker.stage.time.sleep", waited.append)
    with pytest.raises(BlobsUnavailable):
        run_stage(ID, Stage.PREPARE, raising(BlobsUnavailable()))
    assert waited == [STORE_PAUSE_S]
    assert record(context).status is Status.QUEUED


def test_a_worker_that_lost_its_claim_writes_nothing(context: Runtime) -> None:
    def overtaken(context: Runtime, record: RequestRecord, _execution: str) -> Fields:
        context.requests.claim(record.id, Stage.PREPARE, "other")
        return {"width": 99}

    assert not run_stage(ID, Stage.PREPARE, overtaken)
    assert record(context).width is None
    assert context.jobs.queue(GPU).job_ids == []
    assert not run_stage(ID, Stage.PREPARE, raising(LostClaim()))
    assert record(context).status is Status.QUEUED


def test_an_ended_or_unknown_request_is_not_worked_on(context: Runtime) -> None:
    context.requests.fail(ID, ImageRejected())
    assert not run_stage(ID, Stage.PREPARE, raising(AssertionError("must not run")))
    assert not run_stage("d" * 32, Stage.PREPARE, raising(AssertionError("must not run")))


@pytest.mark.parametrize(("retries_left", "ended"), [(2, False), (0, True), (None, True)])
def test_a_job_that_rq_gave_up_ends_its_request(
    context: Runtime, retries_left: int | None, ended: bool
) -> None:
    context.jobs.enqueue(ID, Stage.PREPARE)
    job = context.jobs.queue(CPU).fetch_job(f"{ID}-prepare")
    assert job is not None
    job.retries_left = retries_left
    fail_request(job, context.redis, None, None, None)
    assert (record(context).status is Status.FAILED) == ended


def test_a_job_that_was_given_up_after_its_work_was_done_ends_nothing(context: Runtime) -> None:
    """Its last execution died between opening the next stage and RQ's own books."""
    context.jobs.enqueue(ID, Stage.PREPARE)
    job = context.jobs.queue(CPU).fetch_job(f"{ID}-prepare")
    assert job is not None
    run_stage(ID, Stage.PREPARE, lambda *_: {})
    job.retries_left = 0
    fail_request(job, context.redis, None, None, None)
    assert record(context).status is Status.QUEUED

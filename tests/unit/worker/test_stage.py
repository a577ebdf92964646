"""A stage: what each error inside a job means, and running a stage twice is safe."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.timeouts import JobTimeoutException

from app.core.errors import BlobsUnavailable, Cancelled, ImageRejected
from app.core.queueing.jobs import CPU, FINISH, GPU
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.types import GenerationParameters, Source
from tests.support.records import PARAMS, SOURCE, prepared
from worker.runtime import Runtime
from worker.stage import LostClaim, run_split_stage, run_stage

ID = "c" * 32


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


def nothing(_context: Runtime, _record: RequestRecord, _execution: str) -> StageResult:
    return prepared(width=10)


def raising(error: BaseException) -> Any:
    def work(_context: Runtime, _record: RequestRecord, _execution: str) -> StageResult:
        raise error

    return work


def test_a_finished_stage_enqueues_the_next(context: Runtime) -> None:
    assert run_stage(ID, Stage.PREPARE, nothing)
    assert record(context).width == 10
    assert context.jobs.carried_stages() == {(ID, Stage.GENERATE)}


def test_the_last_stage_completes_the_request(context: Runtime) -> None:
    for stage in (Stage.PREPARE, Stage.GENERATE):
        assert run_stage(ID, stage, nothing)
    assert run_stage(ID, Stage.FINISH, lambda *_: FinishResult())
    assert record(context).status is Status.COMPLETED
    assert notify_jobs(context) == 1


def notify_jobs(context: Runtime) -> int:
    names = context.jobs.queue(FINISH).job_ids
    return sum(name.startswith("tell-") for name in names)


def test_a_fetched_picture_is_prepared_next(worker_runtime: Runtime) -> None:
    requests, jobs = worker_runtime.requests, worker_runtime.jobs
    requests.submit(ID, "a", PARAMS, SOURCE, requests.expiry(), stage=Stage.FETCH)
    assert run_stage(ID, Stage.FETCH, nothing)
    assert jobs.queue(CPU).job_ids == [f"{ID}-prepare"]


def test_a_finished_stage_whose_next_job_is_missing_only_enqueues_it(context: Runtime) -> None:
    context.requests.claim(ID, Stage.PREPARE, "died")
    context.requests.advance(ID, Stage.PREPARE, "died", StageResult())
    assert not run_stage(ID, Stage.PREPARE, raising(AssertionError("must not run again")))
    assert context.jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert record(context).status is Status.QUEUED


@pytest.mark.parametrize("advanced_before", [False, True], ids=["advances now", "advanced before"])
def test_a_request_for_a_map_that_prepare_has_made_skips_the_gpu(
    worker_runtime: Runtime, advanced_before: bool
) -> None:
    requests = worker_runtime.requests
    requests.submit(ID, "a", GenerationParameters(only_map=True), Source(), requests.expiry())
    if advanced_before:
        requests.claim(ID, Stage.PREPARE, "died")
        requests.advance(ID, Stage.GENERATE, "died", prepared(annotated=True))
    run_stage(ID, Stage.PREPARE, lambda *_: prepared(annotated=True))
    assert worker_runtime.jobs.queue(GPU).job_ids == []
    assert worker_runtime.jobs.queue(FINISH).job_ids == [f"{ID}-finish"]


def test_a_map_that_needs_a_detector_goes_to_the_gpu(worker_runtime: Runtime) -> None:
    requests = worker_runtime.requests
    requests.submit(ID, "a", GenerationParameters(only_map=True), Source(), requests.expiry())
    run_stage(ID, Stage.PREPARE, lambda *_: prepared(annotated=False))
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
    context: Runtime, caplog: pytest.LogCaptureFixture, error: Exception, text: str, status: int
) -> None:
    context.blobs.put(f"{ID}:source", b"picture", context.requests.expiry())
    assert not run_stage(ID, Stage.PREPARE, raising(error))
    failed = record(context)
    assert (failed.status, failed.error, failed.error_status) == (Status.FAILED, text, status)
    assert context.jobs.queue(GPU).job_ids == []
    assert context.blobs.get(f"{ID}:source") is None
    assert notify_jobs(context) == 1
    unexpected = f"request {ID}: PREPARE raised"
    assert caplog.messages == ([unexpected] if status == 500 else [])


@pytest.mark.parametrize("error", [RedisConnectionError("away"), SystemExit()])
def test_an_error_of_the_infrastructure_leaves_the_request_open(
    context: Runtime, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        run_stage(ID, Stage.PREPARE, raising(error))
    assert record(context).status is Status.QUEUED
    assert run_stage(ID, Stage.PREPARE, nothing)


def test_an_unavailable_blob_store_leaves_the_request_open_and_the_worker_backs_off(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("worker.stage.time.sleep", waited.append)
    with pytest.raises(BlobsUnavailable):
        run_stage(ID, Stage.PREPARE, raising(BlobsUnavailable()))
    assert waited == [10]  # RQ's four attempts cover an outage of 40 s
    assert record(context).status is Status.QUEUED


def test_an_execution_that_lost_its_claim_writes_nothing(context: Runtime) -> None:
    def overtaken(context: Runtime, record: RequestRecord, _execution: str) -> StageResult:
        context.requests.claim(record.id, Stage.PREPARE, "other")
        return prepared(width=99)

    assert not run_stage(ID, Stage.PREPARE, overtaken)
    assert record(context).width is None
    assert context.jobs.queue(GPU).job_ids == []
    assert not run_stage(ID, Stage.PREPARE, raising(LostClaim()))
    assert record(context).status is Status.QUEUED


@pytest.mark.parametrize(
    ("ended", "level", "kept"), [(True, logging.INFO, None), (False, logging.WARNING, b"x")]
)
@pytest.mark.parametrize("noticed", [True, False], ids=["in its work", "at its end"])
@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.FINISH])
def test_blobs_stored_after_a_request_has_ended_are_deleted(
    context: Runtime,
    caplog: pytest.LogCaptureFixture,
    stage: Stage,
    noticed: bool,
    ended: bool,
    level: int,
    kept: bytes | None,
) -> None:
    """Blobs of a request that another execution holds stay."""

    def work(context: Runtime, record: RequestRecord, _execution: str) -> StageResult:
        context.blobs.put(f"{ID}:control", b"x", record.expires_at)
        if ended:
            context.requests.fail(ID, Cancelled())
        else:
            context.requests.claim(ID, stage, "another")
        if noticed:
            raise LostClaim
        return StageResult()

    caplog.set_level(logging.INFO)
    assert not run_stage(ID, stage, work)
    assert context.blobs.get(f"{ID}:control") == kept
    assert context.jobs.carried_stages() == set()
    assert notify_jobs(context) == 0
    lost = (f"request {ID}: {stage.name} lost its claim", level)
    assert [(line.message, line.levelno) for line in caplog.records] == ([lost] if noticed else [])


def in_two_parts(end: Any) -> Any:
    def work(_context: Runtime, _record: RequestRecord, _execution: str) -> Any:
        return end

    return work


def test_a_split_stage_is_open_until_its_deferred_work_has_run(context: Runtime) -> None:
    deferred = run_split_stage(ID, Stage.PREPARE, in_two_parts(lambda: prepared(width=7)))
    assert deferred is not None
    assert (record(context).stage, context.jobs.carried_stages()) == (Stage.PREPARE, set())
    deferred()
    assert (record(context).stage, record(context).width) == (Stage.GENERATE, 7)
    assert context.jobs.carried_stages() == {(ID, Stage.GENERATE)}


def test_a_split_stage_may_fail_in_either_part(context: Runtime) -> None:
    assert run_split_stage(ID, Stage.PREPARE, raising(ImageRejected("image: bad"))) is None
    assert record(context).error == "image: bad"
    assert run_split_stage(ID, Stage.PREPARE, raising(AssertionError("must not run"))) is None
    context.requests.forget(ID)
    context.requests.submit(ID, "a", PARAMS, SOURCE, context.requests.expiry())

    def end() -> StageResult:
        raise ImageRejected("image: bad at its end")

    deferred = run_split_stage(ID, Stage.PREPARE, in_two_parts(end))
    assert deferred is not None
    deferred()
    assert record(context).error == "image: bad at its end"
    assert context.jobs.carried_stages() == set()


def test_an_ended_or_unknown_request_runs_no_work(context: Runtime) -> None:
    context.requests.fail(ID, ImageRejected())
    assert not run_stage(ID, Stage.PREPARE, raising(AssertionError("must not run")))
    assert not run_stage("d" * 32, Stage.PREPARE, raising(AssertionError("must not run")))

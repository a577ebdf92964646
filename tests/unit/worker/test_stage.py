"""What an error inside a job means, and that a stage is safe to run twice."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.timeouts import JobTimeoutException

from app.core.errors import BlobsUnavailable, Cancelled, ImageRejected
from app.core.queueing.jobs import CPU, FINISH, GPU
from app.core.requests.record import RequestRecord, Stage, Status
from worker.runtime import Runtime
from worker.stage import Fields, LostClaim, run_stage, run_stage_in_two

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
    assert context.jobs.carried_stages() == {(ID, Stage.GENERATE)}


def test_the_last_stage_completes(context: Runtime) -> None:
    for stage in (Stage.PREPARE, Stage.GENERATE, Stage.FINISH):
        assert run_stage(ID, stage, nothing)
    assert record(context).status is Status.COMPLETED
    assert calls_to_tell(context) == 1


def calls_to_tell(context: Runtime) -> int:
    names = context.jobs.queue(FINISH).job_ids
    return sum(name.startswith("tell-") for name in names)


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
    context: Runtime, caplog: pytest.LogCaptureFixture, error: Exception, text: str, status: int
) -> None:
    context.blobs.put(f"{ID}:source", b"picture", context.requests.expiry())
    assert not run_stage(ID, Stage.PREPARE, raising(error))
    failed = record(context)
    assert (failed.status, failed.error, failed.error_status) == (Status.FAILED, text, status)
    assert context.jobs.queue(GPU).job_ids == []
    assert context.blobs.get(f"{ID}:source") is None
    assert calls_to_tell(context) == 1
    unexpected = f"request {ID}: PREPARE raised"
    assert caplog.messages == ([unexpected] if status == 500 else [])


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
    assert waited == [10]  # RQ's four attempts outlast 40 s of it
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


@pytest.mark.parametrize(
    ("ended", "level", "kept"), [(True, logging.INFO, None), (False, logging.WARNING, b"x")]
)
@pytest.mark.parametrize("noticed", [True, False], ids=["in its work", "at its end"])
@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.FINISH])
def test_what_was_stored_for_a_request_that_ended_meanwhile_is_dropped(
    context: Runtime,
    caplog: pytest.LogCaptureFixture,
    stage: Stage,
    noticed: bool,
    ended: bool,
    level: int,
    kept: bytes | None,
) -> None:
    """That of one that another execution has is its own."""

    def work(context: Runtime, record: RequestRecord, _execution: str) -> Fields:
        context.blobs.put(f"{ID}:control", b"x", record.expires_at)
        if ended:
            context.requests.fail(ID, Cancelled())
        else:
            context.requests.claim(ID, stage, "another")
        if noticed:
            raise LostClaim
        return {}

    caplog.set_level(logging.INFO)
    assert not run_stage(ID, stage, work)
    assert context.blobs.get(f"{ID}:control") == kept
    assert context.jobs.carried_stages() == set()
    assert calls_to_tell(context) == 0
    lost = (f"request {ID}: {stage.name} lost its claim", level)
    assert [(one.message, one.levelno) for one in caplog.records] == ([lost] if noticed else [])


def in_two(end: Any) -> Any:
    def work(_context: Runtime, _record: RequestRecord, _execution: str) -> Any:
        return end

    return work


def test_a_stage_in_two_parts_is_open_until_the_second_has_run(context: Runtime) -> None:
    rest = run_stage_in_two(ID, Stage.PREPARE, in_two(lambda: {"width": 7}))
    assert rest is not None
    assert (record(context).stage, context.jobs.carried_stages()) == (Stage.PREPARE, set())
    rest()
    assert (record(context).stage, record(context).width) == (Stage.GENERATE, 7)
    assert context.jobs.carried_stages() == {(ID, Stage.GENERATE)}


def test_a_stage_in_two_parts_may_fail_in_either(context: Runtime) -> None:
    assert run_stage_in_two(ID, Stage.PREPARE, raising(ImageRejected("image: bad"))) is None
    assert record(context).error == "image: bad"
    assert run_stage_in_two(ID, Stage.PREPARE, raising(AssertionError("must not run"))) is None
    context.requests.forget(ID)
    context.requests.submit(ID, "a", {}, {}, context.requests.expiry())

    def end() -> Fields:
        raise ImageRejected("image: bad at its end")

    rest = run_stage_in_two(ID, Stage.PREPARE, in_two(end))
    assert rest is not None
    rest()
    assert record(context).error == "image: bad at its end"
    assert context.jobs.carried_stages() == set()


def test_an_ended_or_unknown_request_is_not_worked_on(context: Runtime) -> None:
    context.requests.fail(ID, ImageRejected())
    assert not run_stage(ID, Stage.PREPARE, raising(AssertionError("must not run")))
    assert not run_stage("d" * 32, Stage.PREPARE, raising(AssertionError("must not run")))

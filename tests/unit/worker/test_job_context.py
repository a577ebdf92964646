"""The log context of a job: in a forked work horse, and on the background thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rq.serializers import JSONSerializer

from app.core.errors import ImageRejected
from app.core.lifecycle.background_jobs import BackgroundJob
from app.core.queueing.jobs import CPU, FINISH, GPU
from app.core.requests.record import Stage
from app.core.telemetry import logs, tracing
from tests.support.records import PARAMS, SOURCE
from worker import generate, prepare
from worker.forking_worker import PrepareWorker
from worker.gpu_worker import GpuWorker
from worker.job_context import log_context
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

ID = "0123456789abcdef0123456789abcdef"


def write_request(path: Path, line: str) -> None:
    """Write to a file, so that the test can read another process's output."""
    with path.open("a") as file:
        file.write(f"{line}: {logs.current_request()}\n")


def test_the_log_lines_of_a_work_horse_name_its_request(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "said"
    monkeypatch.setattr(prepare, "prepare", lambda _: write_request(output, "horse"))
    monkeypatch.setattr(
        PrepareWorker, "set_state", lambda *_, **__: write_request(output, "parent"), raising=True
    )
    redis, jobs = worker_runtime.redis, worker_runtime.jobs
    worker = PrepareWorker([CPU], connection=redis, serializer=JSONSerializer)
    jobs.enqueue(ID, Stage.PREPARE)
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    output.unlink(missing_ok=True)
    worker.execute_job(*job_and_queue)
    worker.teardown()
    assert set(output.read_text().splitlines()) == {f"horse: {ID}", f"parent: {ID}"}
    assert logs.current_request() == ""


def test_the_log_lines_of_deferred_work_name_its_own_request(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "said"
    redis, jobs = worker_runtime.redis, worker_runtime.jobs

    def fake(request_id: str) -> object:
        write_request(output, f"device {request_id}")
        return lambda: write_request(output, f"rest {request_id}")

    monkeypatch.setattr(generate, "generate", fake)
    worker = GpuWorker([jobs.queue(GPU)], connection=redis, serializer=JSONSerializer)
    ids = [digit * 32 for digit in "ab"]
    for request_id in ids:
        jobs.enqueue(request_id, Stage.GENERATE)
    for _ in ids:
        job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
        assert job_and_queue is not None
        worker.execute_job(*job_and_queue)
    worker.teardown()
    lines = {f"{part} {one}: {one}" for one in ids for part in ("device", "rest")}
    assert set(output.read_text().splitlines()) == lines


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start("tests", SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop()


def test_the_span_of_a_job_is_a_child_of_its_submission(
    worker_runtime: Runtime, spans: InMemorySpanExporter
) -> None:
    requests, jobs = worker_runtime.requests, worker_runtime.jobs
    client = f"00-{'a' * 32}-{'b' * 16}-01"
    with tracing.span("submit", client, server=True):
        requests.submit(ID, "team-a", PARAMS, SOURCE, requests.expiry())
    jobs.enqueue(ID, Stage.PREPARE)
    job = jobs.queue(CPU).fetch_job(f"{ID}-prepare")
    assert job is not None
    with log_context(worker_runtime.redis, job):
        requests.fail(ID, ImageRejected("image: no picture"))
    submit, prepare_span = spans.get_finished_spans()
    assert submit.parent is not None
    assert prepare_span.parent is not None
    assert submit.context.trace_id == prepare_span.context.trace_id == int("a" * 32, 16)
    assert submit.parent.span_id == int("b" * 16, 16)
    assert prepare_span.parent.span_id == submit.context.span_id
    assert (prepare_span.name, prepare_span.status.description) == ("prepare", "image: no picture")
    assert prepare_span.attributes == {"request_id": ID}


def test_a_request_from_before_tracing_has_a_trace_of_its_own(
    worker_runtime: Runtime, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = worker_runtime.jobs
    jobs.enqueue(ID, Stage.PREPARE)
    job = jobs.queue(CPU).fetch_job(f"{ID}-prepare")
    assert job is not None
    with caplog.at_level(logging.INFO), log_context(worker_runtime.redis, job, "rest"):
        pass
    [span] = spans.get_finished_spans()
    assert (span.name, span.parent) == ("prepare rest", None)
    assert "prepare rest took" in caplog.text


def test_the_log_lines_of_a_background_job_name_no_request(
    worker_runtime: Runtime, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    worker_runtime.background_jobs.request(BackgroundJob.NOTIFY)
    [job] = worker_runtime.jobs.queue(FINISH).jobs
    with caplog.at_level(logging.INFO), log_context(worker_runtime.redis, job):
        assert logs.current_request() == ""
    [span] = spans.get_finished_spans()
    assert (span.name, span.parent) == ("tell", None)
    assert "tell took" in caplog.text

"""The fetch worker: concurrent downloads; no key and no host delays the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from uuid import uuid4

import pytest
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from app.core.errors import Cancelled
from app.core.queueing.jobs import CPU, FETCH
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.store import Account
from app.core.requests.types import Source
from tests.support.pictures import PictureHost
from tests.support.records import PARAMS
from worker.fetch_worker import FetchWorker
from worker.runtime import Runtime


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    settings = {"fetch_allow_hosts": ("127.0.0.1",)}
    worker_runtime.settings = worker_runtime.settings.model_copy(update=settings)
    return worker_runtime


@pytest.fixture
def worker(context: Runtime) -> Iterator[FetchWorker]:
    worker = FetchWorker([FETCH], connection=context.redis, serializer=JSONSerializer)
    worker.register_birth()
    yield worker
    worker.teardown()


def submit(context: Runtime, url: str, key: str = "a", field: str = "image") -> str:
    requests, request_id = context.requests, uuid4().hex
    source = Source(field, "url", url)
    account = Account(key)
    requests.submit(
        request_id, key, PARAMS, source, requests.expiry(), account=account, stage=Stage.FETCH
    )
    context.jobs.enqueue(request_id, Stage.FETCH)
    return request_id


def step(worker: FetchWorker) -> bool:
    """One round of RQ's loop; False when the queue was empty."""
    found = worker.dequeue_job_and_maintain_ttl(None)
    if found is not None:
        worker.execute_job(*found)
    return found is not None


def record(context: Runtime, request_id: str) -> RequestRecord:
    found = context.requests.get(request_id)
    assert found is not None
    return found


SLOTS = 16
"""Concurrent downloads of one process."""


class SlowHost:
    """Answers requests only after the test sets `go`."""

    def __init__(self, host: PictureHost) -> None:
        self.arrived = threading.Semaphore(0)
        self.go = threading.Event()
        self.url = host.answer("/slow", self._respond)

    def _respond(self, handler: BaseHTTPRequestHandler) -> None:
        self.arrived.release()
        self.go.wait(60)
        handler.send_response(200)
        handler.send_header("Content-Length", "4")
        handler.end_headers()
        handler.wfile.write(b"slow")

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=60)


@pytest.fixture
def slow(host: PictureHost) -> Iterator[SlowHost]:
    slow_host = SlowHost(host)
    yield slow_host
    slow_host.go.set()


def test_a_downloaded_picture_is_prepared_next(
    context: Runtime, worker: FetchWorker, host: PictureHost
) -> None:
    request_id = submit(context, host.serve("/a.png", b"the file"))
    assert step(worker)
    worker.teardown()
    assert context.blobs.get(keys.source_blob(request_id)) == b"the file"
    assert context.jobs.queue(CPU).job_ids == [f"{request_id}-prepare"]
    job = context.jobs.queue(FETCH).fetch_job(f"{request_id}-fetch")
    assert job is not None
    assert job.get_status() is JobStatus.FINISHED
    assert not worker.executions


@pytest.mark.parametrize("field", ["image", "control_image"])
def test_a_url_that_fails_fails_its_request_and_names_its_field(
    context: Runtime, worker: FetchWorker, host: PictureHost, field: str
) -> None:
    request_id = submit(context, host.origin + "/missing.png", field=field)
    assert step(worker)
    worker.teardown()
    ended = record(context, request_id)
    assert ended.status is Status.FAILED
    assert ended.error == f"{field}: the URL cannot be used: it answered with HTTP status 404"
    assert context.jobs.queue(CPU).job_ids == []


def test_downloads_run_concurrently_and_another_key_is_not_delayed(
    context: Runtime, worker: FetchWorker, host: PictureHost, slow: SlowHost
) -> None:
    """One key gets at most half of the slots, whatever its hosts do."""
    for _ in range(SLOTS):
        submit(context, slow.url)
    for _ in range(SLOTS // 2):
        assert step(worker)
    slow.wait_for(SLOTS // 2)
    assert not step(worker)
    other = submit(context, host.serve("/b.png", b"other"), key="b")
    assert step(worker)
    while not context.jobs.queue(CPU).job_ids:
        assert not record(context, other).status.terminal
    assert context.blobs.get(f"{other}:source") == b"other"
    slow.go.set()


def test_no_job_is_taken_while_all_slots_are_in_use(
    context: Runtime, worker: FetchWorker, slow: SlowHost
) -> None:
    made = [submit(context, slow.url, key=f"key{number}") for number in range(SLOTS + 1)]
    for _ in range(SLOTS):
        assert step(worker)
    slow.wait_for(SLOTS)
    assert context.jobs.queue(FETCH).job_ids == [f"{made[-1]}-fetch"]
    threading.Timer(0.2, slow.go.set).start()
    assert step(worker)
    assert slow.go.is_set()  # it waited for a slot
    worker.teardown()
    assert set(context.jobs.queue(CPU).job_ids) == {f"{one}-prepare" for one in made}


def test_a_key_whose_files_wait_for_a_decoder_downloads_no_more(
    context: Runtime, worker: FetchWorker, host: PictureHost
) -> None:
    """Files that wait for a decoder occupy memory of Redis."""
    url = host.serve("/a.png", b"the file")
    for _ in range(SLOTS):
        submit(context, url)
    for _ in range(SLOTS // 2):
        assert step(worker)
    assert not step(worker)
    worker.teardown()
    assert len(context.jobs.queue(CPU).job_ids) == SLOTS // 2
    assert not step(worker)
    submit(context, url, key="b")
    assert step(worker)
    assert not step(worker)
    context.redis.delete(context.jobs.queue(CPU).key)
    assert step(worker)


def test_an_immediate_shutdown_re_queues_the_downloads(
    context: Runtime, worker: FetchWorker, slow: SlowHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = submit(context, slow.url)
    assert step(worker)
    slow.wait_for(1)

    def signalled_twice() -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(worker, "_wait_for_downloads", signalled_twice)
        with pytest.raises(SystemExit):
            worker.teardown()
    assert context.jobs.queue(FETCH).job_ids == [f"{request_id}-fetch"]
    assert record(context, request_id).status is Status.QUEUED


def test_a_request_that_was_cancelled_is_not_downloaded(
    context: Runtime, worker: FetchWorker, slow: SlowHost
) -> None:
    request_id = submit(context, slow.url)
    context.requests.fail(request_id, Cancelled())
    assert step(worker)
    assert not slow.arrived.acquire(blocking=False)
    assert not worker.executions

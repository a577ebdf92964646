"""The fetch job: what it stores, and the limits of the settings."""

from __future__ import annotations

import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

import pytest

from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import Source
from app.core.storage.links import output_path
from models.spec import Control
from tests.support.pictures import PictureHost
from tests.support.records import PARAMS
from worker.fetch import fetch
from worker.runtime import Runtime

ID = "a" * 32


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    return with_settings(worker_runtime, fetch_allow_hosts=("127.0.0.1",))


def with_settings(context: Runtime, **settings: Any) -> Runtime:
    context.settings = context.settings.model_copy(update=settings)
    return context


def fetched(context: Runtime, url: str, field: str = "image") -> RequestRecord:
    """The record after both parts of the job."""
    requests = context.requests
    source = Source(field, "url", url)
    requests.submit(ID, "a", PARAMS, source, requests.expiry(), stage=Stage.FETCH)
    rest = fetch(ID)
    assert rest is not None
    assert record(context).stage is Stage.FETCH  # until the download is done
    rest()
    return record(context)


def record(context: Runtime) -> RequestRecord:
    stored = context.requests.get(ID)
    assert stored is not None
    return stored


def test_a_downloaded_picture_is_prepared_next(context: Runtime, host: PictureHost) -> None:
    fetched_record = fetched(context, host.serve("/a.png", b"the file"))
    assert (fetched_record.status, fetched_record.stage) == (Status.QUEUED, Stage.PREPARE)
    assert context.blobs.get(f"{ID}:source") == b"the file"
    blob_ttl_s = cast(int, context.redis.ttl(f"blob:{ID}:source"))
    assert abs(blob_ttl_s - cast(int, context.redis.ttl(f"req:{ID}"))) <= 1
    assert context.jobs.carried_stages() == {(ID, Stage.PREPARE)}


@pytest.mark.parametrize("field", ["image", "control_image"])
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"fetch_allow_hosts": ()}, "the URL cannot be used: its port is not allowed"),
        ({"max_image_bytes": 7}, "the URL cannot be used: it holds more than 7 bytes"),
    ],
)
def test_a_download_is_bounded_by_the_settings(
    context: Runtime, host: PictureHost, settings: dict[str, Any], reason: str, field: str
) -> None:
    with_settings(context, **settings)
    fetched_record = fetched(context, host.serve("/a.png", b"the file"), field)
    assert (fetched_record.status, fetched_record.error, fetched_record.error_status) == (
        Status.FAILED,
        f"{field}: {reason}",
        400,
    )
    assert context.blobs.get(f"{ID}:source") is None
    assert context.jobs.carried_stages() == set()


def test_a_download_times_out(context: Runtime, host: PictureHost) -> None:
    with_settings(context, fetch_timeout_s=0.05)
    fetched_record = fetched(
        context, host.answer("/slow", lambda handler: handler.connection.recv(1))
    )
    assert fetched_record.error == "image: the URL did not deliver within 0.05 s"


def test_a_request_that_has_ended_is_not_downloaded(context: Runtime, host: PictureHost) -> None:
    requests = context.requests
    requests.submit(
        ID, "a", PARAMS, Source("image", "url", host.origin), requests.expiry(), stage=Stage.PREPARE
    )
    before = len(host.requests)
    assert fetch(ID) is None
    assert len(host.requests) == before


def several(context: Runtime, *urls: str | None) -> tuple[Source, ...]:
    """Sources of a request with `controls` that begins with FETCH; None for base64."""
    sources = tuple(
        Source(f"controls[{index}].image", "base64" if url is None else "url", url)
        for index, url in enumerate(urls)
    )
    requests = context.requests
    params = replace(PARAMS, controls=(Control("canny"),) * len(urls))
    requests.submit(
        *(ID, "a", params, sources[0], requests.expiry()),
        stage=Stage.FETCH,
        further_sources=sources[1:],
    )
    return sources


def run(context: Runtime) -> RequestRecord:
    rest = fetch(ID)
    assert rest is not None
    rest()
    return record(context)


def test_every_picture_on_another_server_is_downloaded_by_one_job(
    context: Runtime, host: PictureHost
) -> None:
    own = host.origin + context.links.sign(output_path("b" * 32, "0.png"), 4_000_000_000)
    before = len(host.requests)
    several(context, own, host.serve("/a.png", b"the file"), None)
    context.blobs.put(f"{ID}:source:2", b"aGVsbG8=", context.requests.expiry())
    ended = run(context)
    assert (ended.error, ended.stage) == (None, Stage.PREPARE)
    assert host.requests[before:] == ["/a.png"]
    assert context.blobs.get(f"{ID}:source") is None
    assert context.blobs.get(f"{ID}:source:1") == b"the file"
    assert context.blobs.get(f"{ID}:source:2") == b"aGVsbG8="


def test_a_failed_download_names_its_control_and_leaves_nothing(
    context: Runtime, host: PictureHost
) -> None:
    several(context, host.serve("/a.png", b"the file"), "http://10.0.0.1/a.png")
    ended = run(context)
    assert (ended.status, ended.error_status) == (Status.FAILED, 400)
    assert ended.error == "controls[1].image: the URL cannot be used: its host is not allowed"
    assert context.blobs.get(f"{ID}:source") is None


def test_all_downloads_have_one_deadline(context: Runtime, host: PictureHost) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.4)
        handler.send_response(200)
        handler.send_header("Content-Length", "8")
        handler.end_headers()
        handler.wfile.write(b"the file")

    with_settings(context, fetch_timeout_s=0.6)
    several(context, host.answer("/a.png", slow), host.answer("/b.png", slow))
    assert run(context).error == "controls[1].image: the URL did not deliver within 0.6 s"

"""The fetch job: what it stores, and the limits of the settings."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import Source
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

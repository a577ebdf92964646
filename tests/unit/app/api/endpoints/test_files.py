"""Files behind signed links: valid links, their expiry, and the caching headers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis import keys
from app.core.settings import Settings
from app.core.storage.links import output_path, upload_path
from app.core.storage.s3 import S3Blobs
from app.core.storage.uploads import picture_of
from app.main import create_app
from tests.support.records import CONTROL_MAP, REQUEST_ID, completed, output
from tests.support.s3 import BUCKET, running_s3

WITHOUT_KEY = {"x-api-key": ""}
PNG = b"\x89PNG\r\n\x1a\n"
EXPIRES_AT = int(time.time()) + 86_400  # longer than the tests may take


def missing(answer: Any, name: str) -> bool:
    return bool(answer.status_code == 404 and answer.json() == {"error": f"File {name} not found"})


@pytest.fixture
def finished(inside: Services) -> str:
    """A request with two pictures and a control map, whose bytes are there."""
    completed(inside.requests, control_map=CONTROL_MAP)
    for name, data in (("0", b"first"), ("1", b"second"), ("map", b"map")):
        inside.blobs.put(f"{REQUEST_ID}:output:{name}", data, EXPIRES_AT)
    return REQUEST_ID


@pytest.mark.parametrize(
    ("name", "data", "content_type"),
    [
        ("0.jpeg", b"first", "image/jpeg"),
        ("1.jpeg", b"second", "image/jpeg"),
        ("map.png", b"map", "image/png"),
    ],
)
def test_a_link_opens_a_picture_without_a_key(
    api: TestClient, inside: Services, finished: str, name: str, data: bytes, content_type: str
) -> None:
    link = inside.links.sign(output_path(finished, name), EXPIRES_AT)
    opened = api.get(link, headers=WITHOUT_KEY)
    assert (opened.status_code, opened.content) == (200, data)
    assert opened.headers["content-type"] == content_type
    head = api.head(link, headers=WITHOUT_KEY)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(data))


@pytest.mark.parametrize("name", ["2.jpeg", "0.png", "0", "map.jpeg", "source.jpeg"])
def test_a_name_that_the_record_has_not_is_404(
    api: TestClient, inside: Services, finished: str, name: str
) -> None:
    link = inside.links.sign(output_path(finished, name), EXPIRES_AT)
    assert missing(api.get(link), name)


def test_a_picture_whose_record_or_bytes_are_gone_is_404(
    api: TestClient, inside: Services, finished: str
) -> None:
    link = inside.links.sign(output_path(finished, "0.jpeg"), EXPIRES_AT)
    inside.blobs.delete(f"{finished}:output:0")
    assert missing(api.get(link), "0.jpeg")
    other = inside.links.sign(output_path("f" * 32, "0.jpeg"), EXPIRES_AT)
    assert missing(api.get(other), "0.jpeg")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("0.jpeg", "image/jpeg"), ("1.webp", "image/webp"), ("map.png", "image/png")],
)
def test_a_link_outlives_the_record(
    api: TestClient, inside: Services, finished: str, name: str, content_type: str
) -> None:
    inside.requests.forget(finished)
    assert api.get(f"/v2/requests/{finished}").status_code == 404
    link = inside.links.sign(output_path(finished, name), EXPIRES_AT)
    opened = api.get(link, headers=WITHOUT_KEY)
    assert opened.status_code == 200
    assert opened.headers["content-type"] == content_type
    assert api.head(link, headers=WITHOUT_KEY).headers["content-type"] == content_type
    inside.blobs.delete(f"{finished}:output:{name.partition('.')[0]}")
    assert missing(api.get(link), name)


@pytest.fixture(params=["folder", "bucket"])
def week(
    request: pytest.FixtureRequest,
    redis_server: str,
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TestClient]:
    """A client of an api whose pictures are not in Redis."""
    with ExitStack() as stack:
        url = f"file://{tmp_path}/blobs"
        if request.param == "bucket":
            for name, value in stack.enter_context(running_s3()).items():
                monkeypatch.setenv(name, value)
            url = f"s3://{BUCKET}/week"
        app = create_app(Settings(redis_url=redis_server, blob_url=url))
        client = TestClient(app, base_url="http://localhost:8000")
        client.headers["x-api-key"] = KeyStore(redis).create("team-a", Terms())[0]
        yield stack.enter_context(client)
        if isinstance(app.state.services.blobs, S3Blobs):
            app.state.services.blobs._s3.close()


def test_a_picture_outside_of_redis_is_there_on_day_2_and_gone_on_day_8(
    week: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(week.app, FastAPI)
    inside: Services = week.app.state.services
    now = int(time.time())
    expires_at = now + inside.settings.output_life_s
    completed(inside.requests, outputs_expire_at=expires_at)
    inside.blobs.put(f"{REQUEST_ID}:output:0", b"first", expires_at)
    link = week.get(f"/v2/requests/{REQUEST_ID}").json()["images"][0]["url"]
    inside.requests.forget(REQUEST_ID)  # Redis does, after an hour by its own clock
    for hours, status in ((1, 200), (2 * 24, 200), (8 * 24, 404)):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3600.0)
        inside.blobs.sweep()
        assert week.get(link, headers=WITHOUT_KEY).status_code == status
        assert week.get(f"/v2/requests/{REQUEST_ID}").status_code == 404


@pytest.mark.parametrize("name", ["0", "0.exe", "source.jpeg", "2.jpeg"])
def test_a_name_that_no_request_can_have_is_404(
    api: TestClient, inside: Services, finished: str, name: str
) -> None:
    inside.requests.forget(finished)
    assert missing(api.get(inside.links.sign(output_path(finished, name), EXPIRES_AT)), name)


@pytest.mark.parametrize("change", ["", "?exp=4000000000&sig=" + "0" * 32, "?exp=&sig=", "?sig=x"])
def test_a_link_that_was_not_signed_is_404(api: TestClient, finished: str, change: str) -> None:
    path = output_path(finished, "0.jpeg")
    assert missing(api.get(path + change), "0.jpeg")


@pytest.mark.parametrize("left", [600, 61, 1])
def test_a_picture_may_be_kept_as_long_as_its_link_lives(
    api: TestClient, inside: Services, finished: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: EXPIRES_AT - left + 0.9)
    link = inside.links.sign(output_path(finished, "0.jpeg"), EXPIRES_AT)
    kept = api.get(link).headers["cache-control"]
    assert kept == f"private, max-age={left}, immutable"


def test_a_link_is_over_at_the_second_of_its_expiry(
    api: TestClient, inside: Services, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = inside.links.sign(output_path(finished, "0.jpeg"), EXPIRES_AT)
    monkeypatch.setattr(time, "time", lambda: float(EXPIRES_AT))
    assert missing(api.get(link), "0.jpeg")


KINDS = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
}


@pytest.mark.parametrize(("kind", "content_type"), KINDS.items())
def test_a_link_opens_an_upload_without_a_key(
    api: TestClient, inside: Services, kind: str, content_type: str
) -> None:
    picture = picture_of(PNG)
    assert picture is not None
    inside.blobs.put(keys.upload_blob(picture.sha256), PNG, EXPIRES_AT)
    link = inside.links.sign(upload_path(picture.sha256, kind), EXPIRES_AT)
    opened = api.get(link, headers=WITHOUT_KEY)
    assert (opened.status_code, opened.content) == (200, PNG)
    assert opened.headers["content-type"] == content_type
    assert opened.headers["cache-control"].startswith("private, max-age=")
    assert api.head(link, headers=WITHOUT_KEY).status_code == 200
    inside.blobs.delete(keys.upload_blob(picture.sha256))
    assert missing(api.get(link), f"{picture.sha256}.{kind}")


def test_an_upload_that_was_not_signed_is_404(api: TestClient, inside: Services) -> None:
    sha256 = "a" * 64
    inside.blobs.put(keys.upload_blob(sha256), PNG, EXPIRES_AT)
    of_another = inside.links.sign(upload_path("b" * 64, "png"), EXPIRES_AT).partition("?")[2]
    for query in ("", f"?{of_another}"):
        assert missing(api.get(f"/uploads/{sha256}.png{query}"), f"{sha256}.png")


def test_the_picture_of_an_output_without_a_type_of_ours_keeps_its_own(
    api: TestClient, inside: Services
) -> None:
    completed(inside.requests, outputs=(output(0, content_type="image/webp"),))
    inside.blobs.put(f"{REQUEST_ID}:output:0", b"x", EXPIRES_AT)
    link = inside.links.sign(output_path(REQUEST_ID, "0.jpeg"), EXPIRES_AT)
    assert api.get(link).headers["content-type"] == "image/webp"

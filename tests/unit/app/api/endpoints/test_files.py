"""Files behind signed links: valid links, their expiry, and the caching headers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.deps import Services
from app.core.redis import keys
from app.core.storage.links import output_path, upload_path
from app.core.storage.uploads import picture_of
from tests.support.records import CONTROL_MAP, REQUEST_ID, completed, output

NOBODY = {"x-api-key": ""}
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
    opened = api.get(link, headers=NOBODY)
    assert (opened.status_code, opened.content) == (200, data)
    assert opened.headers["content-type"] == content_type
    head = api.head(link, headers=NOBODY)
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
    opened = api.get(link, headers=NOBODY)
    assert (opened.status_code, opened.content) == (200, PNG)
    assert opened.headers["content-type"] == content_type
    assert opened.headers["cache-control"].startswith("private, max-age=")
    assert api.head(link, headers=NOBODY).status_code == 200
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

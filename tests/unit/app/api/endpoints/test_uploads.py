"""POST /upload-asset: its shape, its limits, and the errors of invalid pictures."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.settings import Settings
from app.main import create_app

PATH = "/upload-asset"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
GIF = b"GIF89a" + bytes(8)


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def refused(api: TestClient, data_urls: Any) -> str:
    answer = api.post(PATH, json={"data_urls": data_urls})
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


def test_links_are_in_the_order_of_the_pictures(api: TestClient) -> None:
    answer = api.post(PATH, json={"data_urls": [uri(PNG), uri(GIF), uri(PNG)], "other": 1})
    assert answer.status_code == 200
    links = answer.json()["file_urls"]
    assert answer.json() == {
        "file_urls": links,
        "message": "Files uploaded successfully",
        "urls": links,
    }
    now = int(time.time())
    for link, data, kind in zip(links, (PNG, GIF, PNG), ("png", "gif", "png"), strict=True):
        path = f"http://localhost:8000/uploads/{hashlib.sha256(data).hexdigest()}.{kind}"
        found = re.fullmatch(re.escape(path) + r"\?exp=(\d+)&sig=[0-9a-f]{32}", link)
        assert found is not None
        assert now + 604_790 <= int(found[1]) <= now + 604_800  # seven days
        assert api.get(link, headers={"x-api-key": ""}).content == data


@pytest.mark.parametrize(("many", "taken"), [(0, False), (1, True), (16, True), (17, False)])
def test_an_upload_takes_one_to_sixteen_pictures(api: TestClient, many: int, taken: bool) -> None:
    if taken:
        answer = api.post(PATH, json={"data_urls": [uri(PNG)] * many})
        assert len(answer.json()["file_urls"]) == many
    else:
        needed = "data_urls: a list of 1 to 16 data URIs is needed"
        assert refused(api, [uri(PNG)] * many) == needed


@pytest.mark.parametrize("data_urls", [None, "", uri(PNG), {}, 5, {"0": uri(PNG)}])
def test_data_urls_that_are_no_list_are_refused(api: TestClient, data_urls: Any) -> None:
    assert refused(api, data_urls) == "data_urls: a list of 1 to 16 data URIs is needed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (5, "a data URI is needed"),
        (None, "a data URI is needed"),
        ([uri(PNG)], "a data URI is needed"),
        ("https://a.example/a.png", "not a base64 data URI"),
        ("data:image/png;base64,?", "not a base64 data URI"),
        (
            uri(b"%PDF-1.7"),
            "this is a PDF; allowed are jpeg, png, webp, gif, bmp, tiff, avif, heic, heif",
        ),
        (
            uri(b"\0\1\2\3"),
            "not a picture; allowed are jpeg, png, webp, gif, bmp, tiff, avif, heic, heif",
        ),
    ],
)
def test_a_picture_that_is_none_is_named_by_its_place(
    api: TestClient, inside: Services, text: Any, said: str
) -> None:
    assert refused(api, [uri(PNG), text]) == f"data_urls[1]: {said}"
    assert inside.blobs.get(f"upload:{hashlib.sha256(PNG).hexdigest()}") is None


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 406),
        ("multipart/form-data; boundary=x", 406),
        ("", 406),
    ],
)
def test_a_body_is_json_and_says_so(api: TestClient, content_type: str, status: int) -> None:
    raw = f'{{"data_urls": ["{uri(PNG)}"]}}'.encode()
    answer = api.post(PATH, content=raw, headers={"content-type": content_type})
    assert answer.status_code == status
    if status == 406:
        assert answer.json() == {"error": "Invalid content type. Send application/json"}


def test_an_upload_needs_a_key_before_it_is_read(api: TestClient) -> None:
    answer = api.post(PATH, content=b"no JSON", headers={"x-api-key": ""})
    assert answer.status_code == 401


def test_a_picture_and_an_owner_have_their_bounds(redis: Redis, redis_server: str) -> None:
    bounds = {"max_image_bytes": 1024, "upload_quota_bytes": 1500}
    app = create_app(Settings(redis_url=redis_server, **bounds))
    headers = {"x-api-key": KeyStore(redis).create("team-a", Terms())[0]}
    with TestClient(app, base_url="http://localhost", headers=headers) as api:
        large = PNG.ljust(1025, b"\0")
        assert refused(api, [uri(large)]) == ("data_urls[0]: 1025 bytes; at most 1024 are allowed")
        assert api.post(PATH, json={"data_urls": [uri(large[:1024])]}).status_code == 200
        more = api.post(PATH, json={"data_urls": [uri(GIF.ljust(477, b"\0"))]})
        assert more.status_code == 413
        assert more.json()["error"] == (
            "data_urls: with these your uploads would hold 1501 bytes; at most 1500 are allowed, "
            "and each lives 604800 s"
        )
        just = api.post(PATH, json={"data_urls": [uri(GIF.ljust(476, b"\0")), uri(large[:1024])]})
        assert just.status_code == 200


def test_a_long_picture_is_read_as_a_whole(api: TestClient) -> None:
    long = PNG + bytes(200_000)
    answer = api.post(PATH, json={"data_urls": [uri(long)]})
    assert api.get(answer.json()["urls"][0]).content == long

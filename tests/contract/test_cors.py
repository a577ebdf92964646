"""What a script of another origin may do and read, over real HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from app.api.http.cors_policy import EXPOSED
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis.connection import connect
from tests.support.bodies import small
from tests.support.pictures import astronaut, base64_of
from tests.support.raw import answers, connected, everything
from tests.support.servers import Server, running_api
from tests.support.sse import all_events
from tests.support.wire import V1, V2, Wire, assert_well_formed, finished

APP = "https://app.example"
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,idempotency-key,x-api-key",
}


@pytest.fixture(scope="module")
def open_api(server: Server) -> Iterator[str]:
    """Another api process on the same Redis and workers that a page of APP may use."""
    settings = {"CORS_ORIGINS": APP, "BODY_TIMEOUT_S": "2", "MAX_BODY_BYTES": "100000"}
    with running_api(server.redis_url, **settings) as url:
        yield url


@pytest.fixture
def script(open_api: str, server: Server, wire: Wire) -> Iterator[httpx.Client]:
    """A script of that page."""
    headers = {**server.headers, "origin": APP}
    with httpx.Client(base_url=open_api, headers=headers, timeout=120) as client:
        wire.watch(client)
        yield client


def readable(answer: httpx.Response) -> int:
    """The status of an answer that a browser hands to the script."""
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    return answer.status_code


def test_a_preflight_is_answered_without_a_key(open_api: str) -> None:
    answer = httpx.options(f"{open_api}{V2}", headers=PREFLIGHT)
    assert (readable(answer), answer.content) == (204, b"")
    assert (
        answer.headers["access-control-allow-headers"]
        == PREFLIGHT["access-control-request-headers"]
    )
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_without_the_setting_a_preflight_is_an_unknown_method(http: httpx.Client) -> None:
    for answer in (http.options(V2, headers=PREFLIGHT), http.get("/v1/x", headers={"origin": APP})):
        assert answer.status_code in (404, 405)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_wrong_key_is_readable(script: httpx.Client) -> None:
    answer = script.post(V2, json=small(), headers={"x-api-key": "SG_wrong"})
    assert readable(answer) == 401


def test_all_headers_of_a_picture_are_readable(script: httpx.Client, server: Server) -> None:
    with connect(server.redis_url) as redis:
        key = KeyStore(redis).create("browser", Terms(credits=1000, rpm=60))[0]
    answer = script.post(V1, json=small(), headers={"x-api-key": key})
    assert readable(answer) == 200
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    ours = {name for name in answer.headers if name.startswith("x-")} - {"x-content-type-options"}
    absent = {"retry-after", "x-should-retry", "x-warnings"}  # there is nothing to report
    assert ours == set(exposed) - absent
    assert tuple(exposed) == EXPOSED


def test_events_results_files_and_uploads_are_readable(
    script: httpx.Client, open_api: str, server: Server
) -> None:
    headers = {**server.headers, "origin": APP}
    request_id = finished(script, small())["request_id"]
    with httpx.Client(base_url=open_api, headers=headers, timeout=120) as plain:
        path = f"/v2/requests/{request_id}/events"
        with plain.stream("GET", path, headers={"last-event-id": "0-0"}) as stream:
            assert readable(stream) == 200
        assert all_events(plain, request_id)[-1].name == "completed"
    result = script.get(f"/v2/requests/{request_id}")
    assert readable(result) == 200
    stored = {"data_urls": [f"data:image/png;base64,{base64_of(astronaut((64, 64)))}"]}
    upload = script.post("/upload-asset", json=stored)
    assert readable(upload) == 200
    for link in (result.json()["output"], upload.json()["file_urls"][0]):
        answer = httpx.get(link, headers={"origin": APP})
        assert readable(answer) == 200
        assert answer.headers["cache-control"].startswith("private, max-age=")
        assert httpx.get(link).headers["vary"] == "Origin"


def test_a_body_that_is_too_large_or_too_slow_is_readable(
    script: httpx.Client, open_api: str
) -> None:
    answer = script.post(V2, content=b"x" * 100_001, headers={"content-type": "application/json"})
    assert readable(answer) == 413
    head = f"POST {V2} HTTP/1.1\r\nhost: localhost\r\norigin: {APP}\r\ncontent-length: 9\r\n"
    key = f"x-api-key: {script.headers['x-api-key']}\r\ncontent-type: application/json\r\n\r\n"
    with connected(open_api) as connection:
        connection.sendall((head + key).encode())
        (slow,) = answers(everything(connection))
    assert (slow.status, slow.headers["access-control-allow-origin"]) == (408, APP)


@pytest.mark.parametrize(
    "path", ["/admin/keys", "/metrics", "/openapi.json", "/health/ready", "/health/live"]
)
def test_a_closed_path_is_never_readable(open_api: str, path: str) -> None:
    for answer in (
        httpx.get(f"{open_api}{path}", headers={"origin": APP}),
        httpx.options(f"{open_api}{path}", headers=PREFLIGHT),
    ):
        assert_well_formed(answer)
        assert not [name for name in answer.headers if name.startswith("access-control-")]

"""The real client and what is refused: bad bodies, unknown models, keys, verbs, content types.

Numbers in the names are those of the acceptance scenarios. Where the hosted service is silent or
contradicts itself the server refuses an invalid body at once with 400 on v1 and v2.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from segmind import SegmindClient
from segmind.exceptions import SegmindError
from segmind.v2 import InferenceFailed

from tests.contract.conftest import Connect
from tests.support.bodies import small
from tests.support.servers import Server
from tests.support.wire import V1, V2, Wire

Call = Callable[..., Any]
BOTH = pytest.mark.parametrize(
    "call", [SegmindClient.run_sync, SegmindClient.run], ids=["v1", "v2"]
)
PATHS = pytest.mark.parametrize("path", [V1, V2], ids=["v1", "v2"])


def refusal(call: Call, client: SegmindClient, slug: str = "flux-controlnet", **body: Any) -> Any:
    with pytest.raises(SegmindError) as refused:
        call(client, slug, **body)
    assert not isinstance(refused.value, InferenceFailed)
    assert isinstance(refused.value.detail, str)
    return refused.value


@BOTH
def test_08_missing_prompt(call: Call, client: SegmindClient, wire: Wire) -> None:
    """No prompt: 400 that names it, and no request is made of it."""
    body = small()
    del body["prompt"]
    error = refusal(call, client, **body)
    assert error.status == 400
    assert error.detail.startswith("prompt: ")
    assert set(wire.answers[-1].json()) == {"error"}
    assert len(wire.answers) == 1


@BOTH
def test_09_bad_enum_value(call: Call, client: SegmindClient) -> None:
    """`sampler="nope"`: 400 that names the parameter and what is allowed."""
    error = refusal(call, client, **small(sampler="nope"))
    assert error.status == 400
    assert error.detail.startswith("sampler: ")
    assert "dpmpp_2m_sde" in error.detail


@BOTH
def test_10_out_of_range(call: Call, client: SegmindClient) -> None:
    """`steps=10`: 400 that names the range."""
    error = refusal(call, client, **small(steps=10))
    assert error.status == 400
    assert error.detail.startswith("steps: ")
    assert "15 to 75" in error.detail


@BOTH
def test_11_unknown_model(call: Call, client: SegmindClient) -> None:
    """An unknown slug: 404 with a text."""
    error = refusal(call, client, "no-such-model", **small())
    assert error.status == 404
    assert "no-such-model" in error.detail


@BOTH
def test_12_no_key(
    call: Call, connect: Connect, server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key at all: 401 and the hosted service's own words."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    error = refusal(call, connect(f"{server.url}/v1", None), **small())
    assert error.status == 401
    assert error.detail == "Missing Authorization or x-api-key in header"
    assert "x-api-key" not in wire.requests[-1].headers


@BOTH
def test_13_wrong_key(call: Call, connect: Connect, server: Server) -> None:
    """A wrong key: 401 and other words."""
    error = refusal(call, connect(f"{server.url}/v1", "SG_0123456789abcdef"), **small())
    assert error.status == 401
    assert error.detail.startswith("Unauthorized. API key is invalid or may have expired")


def test_13_no_poll_without_a_key(
    client: SegmindClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, result and poll URL of a good id are for its key only."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    job = client.submit_async("flux-controlnet", **small())
    for url in (job.status_url, job.response_url, job.submit_response["poll_url"]):
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"x-api-key": f"{server.key}0"}).status_code == 401
    assert job.wait(interval=0.05)["status"] == "COMPLETED"


def test_13_bearer_works_too(server: Server) -> None:
    """`Authorization: Bearer KEY` is as good as x-api-key: refused for its body only."""
    bearer = {"Authorization": f"Bearer {server.key}"}
    answer = httpx.post(server.url + V2, json={}, headers=bearer)
    assert answer.status_code == 400


def test_29_wrong_verb(client: SegmindClient, wire: Wire) -> None:
    """`GET /v1/flux-controlnet`: 405 with a text for the client, and the verbs that work."""
    with pytest.raises(SegmindError) as refused:
        client._request("GET", "/flux-controlnet")
    assert refused.value.status == 405
    assert "GET" in refused.value.detail
    assert wire.answers[-1].headers["allow"] == "POST"


@PATHS
@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "text/json", "json"],
)
def test_30_wrong_content_type(http: httpx.Client, path: str, content_type: str | None) -> None:
    """POST with no or an odd Content-Type: 406 `Invalid content type`."""
    headers = {} if content_type is None else {"content-type": content_type}
    answer = http.post(path, content=b'{"prompt": "x"}', headers=headers)
    assert answer.status_code == 406
    assert answer.json()["error"].startswith("Invalid content type")


@PATHS
@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
def test_30_other_ways_to_say_json(http: httpx.Client, path: str, content_type: str) -> None:
    """A parameter or capitals do not make it another type: the body is read."""
    answer = http.post(path, content=b"{}", headers={"content-type": content_type})
    assert answer.status_code == 400
    assert "prompt: " in answer.json()["error"]


@PATHS
def test_31_malformed_json(http: httpx.Client, path: str) -> None:
    """Malformed JSON: 400 with nothing but `error`."""
    answer = http.post(path, content=b'{"prompt": ', headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def raw_exchange(server: Server, request: bytes) -> bytes:
    """Send bytes and read until the server hangs up."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"BREW /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v2/flux-controlnet HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"this is not HTTP\r\n\r\n",
    ],
)
def test_malformed_http_gets_a_json_error(server: Server, request_bytes: bytes) -> None:
    head, _, body = raw_exchange(server, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert list(json.loads(body)) == ["error"]


def test_a_client_that_leaves_before_its_body_leaves_no_traceback(server: Server) -> None:
    before = server.log.read_text().count("Traceback")
    head = (
        "POST /v1/flux-controlnet HTTP/1.1\r\nHost: localhost\r\n"
        f"x-api-key: {server.key}\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n"
    )
    raw_exchange(server, head.encode() + b"\r\n{}")
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    assert server.log.read_text().count("Traceback") == before

"""A receipt submitted again: where its key goes, and what is said of a server that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from app.commands.replay import Api
from tests.support.pictures import PictureHost, Respond, picture_host, redirect


def answered(body: Any, status: int = 200) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return respond


@pytest.fixture
def another() -> Iterator[PictureHost]:
    with picture_host("127.0.0.2") as running:
        yield running


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_redirect_does_not_take_the_key_along(
    host: PictureHost, another: PictureHost, status: int, elsewhere: bool
) -> None:
    """This server redirects nothing, so what does is another one."""
    target = (another if elsewhere else host).answer("/end", answered({"status": "COMPLETED"}))
    host.answer("/start", redirect(target, status))
    seen = len(host.requests)
    with pytest.raises(ValueError, match=f"^the server answered {status}: "):
        Api(host.origin, "SG_secret").call("/start")
    assert host.requests[seen:] == ["/start"]
    assert another.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_answer_is_read_from_a_path_or_a_url(address: str, slash: str) -> None:
    seen: list[str | None] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["x-api-key"])
        answered({"a": 1})(handler)

    with picture_host(address) as running:
        running.answer("/x", respond)
        api = Api(running.origin + slash, "SG_secret")
        assert api.call("/x") == {"a": 1}
        assert api.call(f"{running.origin}/x") == {"a": 1}
    assert seen == ["SG_secret"] * 2


@pytest.mark.parametrize(
    ("body", "said"), [({"error": "no é"}, "no é"), (["no"], "Bad Request"), ({}, "Bad Request")]
)
def test_a_refusal_is_printed_in_the_servers_words(host: PictureHost, body: Any, said: str) -> None:
    host.answer("/refused", answered(body, 400))
    with pytest.raises(ValueError, match=f"^the server answered 400: {said}$"):
        Api(host.origin, "SG_secret").call("/refused")


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(ValueError, match="^http://127.0.0.1:9 cannot be reached: "):
        Api("http://127.0.0.1:9", "SG_secret").call("/x")


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "FILE:///etc/hostname", "ftp://127.0.0.1/x"]
)
def test_a_url_in_a_response_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Api("http://127.0.0.1:9", "key").call(url)


def test_a_server_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="127.0.0.1:9/v2/x is no URL"):
        Api("127.0.0.1:9", "key").call("/v2/x")

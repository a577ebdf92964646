"""How large a body may be."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.middleware.body_limit import BodyLimit
from app.core.errors import BodyTooLarge
from tests.support.asgi import Inner, call, no_answer, no_message


def test_a_scope_that_is_not_http_passes_the_body_limit() -> None:
    inner = Inner()
    scope = {"type": "lifespan"}
    asyncio.run(BodyLimit(inner, 0)(scope, no_message, no_answer))
    assert inner.scopes == [scope]
    assert inner.scopes[0] is scope


@pytest.mark.parametrize("pieces", [[b"x" * 10], [b"x" * 5, b"x" * 5], [b"x"] * 10, []])
def test_a_body_of_the_bound_is_read(pieces: list[bytes]) -> None:
    inner = Inner()
    size = sum(map(len, pieces))
    headers = [(b"content-length", str(size).encode())]
    [start] = call(BodyLimit(inner, 10), pieces, headers=headers)
    assert (start["status"], inner.body) == (200, b"x" * size)


def test_a_body_that_says_that_it_is_larger_is_413_unread() -> None:
    inner = Inner()
    start, body = call(BodyLimit(inner, 10), headers=[(b"content-length", b"11")])
    assert (start["status"], inner.scopes) == (413, [])
    assert json.loads(body["body"]) == {"error": "The request body is larger than 10 bytes"}


def test_a_body_that_is_too_large_on_a_path_of_openai() -> None:
    headers = [(b"content-length", b"11")]
    _, body = call(BodyLimit(Inner(), 10), headers=headers, path="/v1/images/edits")
    assert json.loads(body["body"])["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 10, b"x"], [b"x"] * 11])
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"-1")], [(b"content-length", b"x")]])
def test_a_body_that_becomes_larger_is_stopped(
    pieces: list[bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(BodyTooLarge, match="^The request body is larger than 10 bytes$"):
        call(BodyLimit(Inner(), 10), pieces, headers=headers)


def test_the_body_limit_ignores_a_client_that_disconnects() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(ClientDisconnect):
        asyncio.run(BodyLimit(Inner(), 10)(scope, receive, send))

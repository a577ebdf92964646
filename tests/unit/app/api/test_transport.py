"""The wrappers around the application: how large a body may be, and which spellings a path has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from app.api.transport import BodyBound, PathForms
from app.core.errors import BodyTooLarge


class Inner:
    """An application that reads what comes and keeps it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            self.body = await Request(scope, receive).body()
            await send({"type": "http.response.start", "status": 200, "headers": []})


def call(app: Any, pieces: Iterable[bytes] = (), **scope: Any) -> list[Message]:
    """What is sent in answer to a request with this body."""
    sent: list[Message] = []
    left = list(pieces)

    async def receive() -> Message:
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "POST", "path": "/", "headers": [], **scope}
    asyncio.run(app(whole, receive, send))
    return sent


@pytest.mark.parametrize(
    ("prefix", "path", "served"),
    [
        ("", "/v2/x", "/v2/x"),
        ("", "/v2/x/", "/v2/x"),
        ("", "/v2/x//", "/v2/x"),
        ("", "/", "/"),
        ("", "//", "/"),
        ("", "", "/"),
        ("/", "/v2/x", "/v2/x"),
        ("/api", "/api/v2/x", "/v2/x"),
        ("/api", "/v2/x", "/v2/x"),
        ("/api/", "/api/v2/x/", "/v2/x"),
        ("/api", "/api/", "/"),
        ("/api", "/api", "/api"),
        ("/api", "/apiary/x", "/apiary/x"),
        ("/api", "/api/api/x", "/api/x"),
        ("/a/b", "/a/b/x", "/x"),
        ("/a/b", "/b/x", "/b/x"),
        ("", "/é", "/é"),
    ],
)
def test_a_path_is_served_in_every_form(prefix: str, path: str, served: str) -> None:
    inner = Inner()
    call(PathForms(inner, prefix), path=path)
    [scope] = inner.scopes
    assert (scope["path"], scope["raw_path"]) == (served, served.encode())


def test_the_caller_keeps_its_own_path() -> None:
    scope = {"type": "http", "path": "/x/", "method": "GET", "headers": []}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        pass

    asyncio.run(PathForms(Inner(), "")(scope, receive, send))
    assert scope["path"] == "/x/"


@pytest.mark.parametrize("wrapper", [lambda app: PathForms(app, "/api"), lambda a: BodyBound(a, 0)])
def test_what_is_no_call_passes_as_it_is(wrapper: Any) -> None:
    inner = Inner()
    scope = {"type": "lifespan"}
    asyncio.run(wrapper(inner)(scope, None, None))
    assert inner.scopes == [scope]
    assert inner.scopes[0] is scope


@pytest.mark.parametrize("pieces", [[b"x" * 10], [b"x" * 5, b"x" * 5], [b"x"] * 10, []])
def test_a_body_of_the_bound_is_read(pieces: list[bytes]) -> None:
    inner = Inner()
    size = sum(map(len, pieces))
    headers = [(b"content-length", str(size).encode())]
    [start] = call(BodyBound(inner, 10), pieces, headers=headers)
    assert (start["status"], inner.body) == (200, b"x" * size)


def test_a_body_that_says_that_it_is_larger_is_413_unread() -> None:
    inner = Inner()
    start, body = call(BodyBound(inner, 10), headers=[(b"content-length", b"11")])
    assert (start["status"], inner.scopes) == (413, [])
    assert json.loads(body["body"]) == {"error": "The request body is larger than 10 bytes"}


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 10, b"x"], [b"x"] * 11])
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"-1")], [(b"content-length", b"x")]])
def test_a_body_that_becomes_larger_is_stopped(
    pieces: list[bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(BodyTooLarge, match="^The request body is larger than 10 bytes$"):
        call(BodyBound(Inner(), 10), pieces, headers=headers)


def test_a_client_that_leaves_is_none_of_its_business() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(ClientDisconnect):
        asyncio.run(BodyBound(Inner(), 10)(scope, receive, send))

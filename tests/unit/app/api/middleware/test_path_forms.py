"""Which spellings of a path are served."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from app.api.middleware.path_forms import PathForms
from tests.support.asgi import Inner, call, no_answer, no_message


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


def test_a_scope_that_is_not_http_passes_the_path_forms() -> None:
    inner = Inner()
    scope = {"type": "lifespan"}
    asyncio.run(PathForms(inner, "/api")(scope, no_message, no_answer))
    assert inner.scopes == [scope]
    assert inner.scopes[0] is scope

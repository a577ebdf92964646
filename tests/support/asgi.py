"""An ASGI application that records its requests, and calls of an application without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send


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


async def no_message() -> Message:
    raise AssertionError("nothing is read")


async def no_answer(_message: Message) -> None:
    raise AssertionError("nothing is sent")

"""The headers that every answer carries, whoever makes it. Knows no endpoint.

A browser that opens one of our URLs must neither guess a type, nor run anything, nor keep a copy
that somebody else may find.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_RAW = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]


class SafeHeaders:
    """Adds them to each answer that does not say otherwise itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                added = (header for header in _RAW if header[0] not in said)
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_safely)

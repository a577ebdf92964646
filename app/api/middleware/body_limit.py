"""Middleware: 413 for a body that is larger than MAX_BODY_BYTES."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.wire.errors import error_response
from app.core.errors import BodyTooLarge
from app.core.telemetry.logs import note


class BodyLimit:
    """Responds 413 once a body exceeds max_bytes, by its Content-Length or as it arrives.

    FastAPI's max_body_size would respond in plain text.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = BodyTooLarge(f"The request body is larger than {self._max_bytes} bytes")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            note(refusal=BodyTooLarge.__name__)
            await error_response(too_large, scope["path"])(scope, receive, send)
            return
        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise too_large
            return message

        await self._app(scope, bounded_receive, send)

"""Graceful shutdown of an api process: connection draining for load balancers.

On SIGTERM, /health/ready becomes 503 and the process serves for another DRAIN_S, closing each
connection after its response. Then it accepts no connection, and in-flight requests have GRACE_S.
Knows no endpoint.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(slots=True)
class Drain:
    """leaving: this process was asked to stop."""

    leaving: bool = False


class CloseOnDrain:
    """Middleware: `Connection: close` while draining, so that no client reuses a connection that is
    about to close."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app, self._drain = app, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.leaving:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_closing)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains on SIGTERM. A second SIGTERM, or SIGINT, skips the drain."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float) -> None:
        super().__init__(config)
        self._drain, self._drain_s = drain, drain_s
        self._exit_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first, self._drain.leaving = not self._drain.leaving, True
        if first and sig == signal.SIGTERM and self._drain_s > 0:
            self._exit_at = time.monotonic() + self._drain_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self._exit_at and not self.should_exit:
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)

"""How an application is put on a port: uvicorn with our protocol. Knows no endpoint."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from app.api.protocol import bounded_protocol
from app.core.settings import Settings


class _Server(uvicorn.Server):
    """Says when it begins to stop: uvicorn tells its application only after the last answer."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)


def serve(
    app: ASGIApp, settings: Settings, host: str, port: int, on_stop: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; on_stop is called first then, on the event loop."""
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        http=bounded_protocol(settings),
        access_log=False,
        server_header=False,
        # The origin of URLs is PUBLIC_URL or the checked Host, never a forwarded header.
        proxy_headers=False,
        # Open v1 calls are told 503 rather than left hanging when the process must go.
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, on_stop)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(1)


def _allow_many_connections() -> None:
    """A v1 call that waits takes two files, and many systems start us with 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""How an application is put on a port: uvicorn with our protocol. Knows no endpoint."""

from __future__ import annotations

import math
import resource

import uvicorn
from fastapi import FastAPI

from app.api.http.drain import Drain, DrainingServer
from app.api.http.protocol import bounded_protocol
from app.core.settings import Settings


def serve(app: FastAPI, settings: Settings, host: str, port: int, drain: Drain) -> None:
    """Serve until SIGINT or SIGTERM; `drain` says when that has come."""
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,  # its lines go where all others go
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        http=bounded_protocol(settings),
        access_log=False,
        server_header=False,
        # The origin of URLs is PUBLIC_URL or the checked Host, never a forwarded header.
        proxy_headers=False,
        # Then open v1 calls are told 503 rather than left hanging.
        timeout_graceful_shutdown=math.ceil(settings.grace_s),
    )
    DrainingServer(config, drain, settings.drain_s).run()


def _allow_many_connections() -> None:
    """A v1 call that waits takes two files, and many systems start us with 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""Runs an application on a port: uvicorn with the protocol of this package. Knows no endpoint."""

from __future__ import annotations

import math
import resource

import uvicorn
from fastapi import FastAPI

from app.api.http.drain import Drain, DrainingServer
from app.api.http.protocol import bounded_protocol
from app.core.settings import Settings


def serve(app: FastAPI, settings: Settings, host: str, port: int, drain: Drain) -> None:
    """Serve until SIGINT or SIGTERM, which sets `drain.leaving`."""
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,  # app.core.telemetry.logs handles its lines
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        http=bounded_protocol(settings),
        access_log=False,
        server_header=False,
        # The origin of URLs is PUBLIC_URL or the checked Host, never a forwarded header.
        proxy_headers=False,
        # After it, open v1 calls get 503 instead of hanging.
        timeout_graceful_shutdown=math.ceil(settings.grace_s),
    )
    DrainingServer(config, drain, settings.drain_s).run()


def _allow_many_connections() -> None:
    """A waiting v1 call takes two file descriptors, and a common default limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

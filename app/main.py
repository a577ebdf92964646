"""The HTTP application: its routers, its middleware and its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from fastapi import FastAPI

from app import VERSION
from app.api.deps import make_services
from app.api.endpoints import (
    account,
    events,
    files,
    history,
    model_list,
    openai_images,
    playground,
    preprocess,
    receipts,
    uploads,
    v1,
    v2,
    webhooks,
)
from app.api.http.cors_policy import cors_policy
from app.api.http.drain import CloseOnDrain
from app.api.http.headers import SecurityHeaders
from app.api.maintenance import run_maintenance
from app.api.middleware.access_log import AccessLog, flush_tally
from app.api.middleware.body_budget import BodyBudget, BodyBudgetMiddleware
from app.api.middleware.body_limit import BodyLimit
from app.api.middleware.cors import Cors
from app.api.middleware.path_forms import PathForms
from app.api.operations import keys, ops, usage
from app.api.wire.errors import install_error_handlers
from app.api.wire.openapi import ALWAYS, install_openapi
from app.core.settings import Settings
from app.core.telemetry import tracing

_FLUSH_TIMEOUT_S = 2.0


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; connects to Redis."""
    services = make_services(settings)
    cors = cors_policy(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        maintenance = asyncio.create_task(run_maintenance(services))
        stop = asyncio.Event()
        tally_flush = asyncio.create_task(flush_tally(services.tally, services.async_redis, stop))
        yield
        maintenance.cancel()
        stop.set()
        with suppress(TimeoutError):  # Redis is unreachable: these counts are lost
            await asyncio.wait_for(tally_flush, _FLUSH_TIMEOUT_S)
        tracing.stop()
        await services.feed.aclose()
        await services.async_redis.aclose()
        services.redis.close()

    app = FastAPI(
        title="flux-controlnet server",
        description="Self-hosted replacement of Segmind's flux-controlnet API.",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if "/openapi.json" in settings.closed_paths else "/openapi.json",
        redirect_slashes=False,
        responses=ALWAYS,
        # FastAPI's would record request data; app.core.telemetry does it instead.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    app.state.services = services
    prefix = urlsplit(str(settings.public_url or "")).path
    install_error_handlers(app, cors, prefix.rstrip("/"))
    app.include_router(v1.router)
    app.include_router(v2.router)
    app.include_router(openai_images.router)
    app.include_router(account.router)
    app.include_router(keys.router)
    app.include_router(usage.router)
    app.include_router(preprocess.router)
    app.include_router(receipts.router)
    app.include_router(events.router)
    app.include_router(webhooks.router)
    app.include_router(uploads.router)
    app.include_router(history.router)
    app.include_router(model_list.router)
    app.include_router(files.router)
    app.include_router(ops.router)
    if settings.playground:
        app.include_router(playground.playground_router(settings))
    if "/metrics" not in settings.closed_paths:
        app.include_router(ops.metrics)
    install_openapi(app)
    app.add_middleware(BodyBudgetMiddleware, budget=_body_budget(settings))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    if cors is not None:
        app.add_middleware(Cors, policy=cors)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CloseOnDrain, drain=services.drain)
    app.add_middleware(AccessLog, tally=services.tally)
    app.add_middleware(PathForms, prefix=prefix)
    return app


def _body_budget(settings: Settings) -> BodyBudget:
    per_process, per_key = settings.max_bodies_bytes, settings.max_key_bodies_bytes
    return BodyBudget(per_process, per_key, settings.max_body_bytes)

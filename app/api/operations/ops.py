"""Endpoints for operators: liveness, readiness, metrics."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError, ResponseError

from app.api.deps import AsyncRedisDep, Services, ServicesDep, TallyDep
from app.api.operations.exposition import render
from app.api.wire.responses import ErrorResponse, Liveness, Readiness
from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU
from app.core.queueing.snapshot import take_snapshot

router = APIRouter(tags=["operations"])
metrics = APIRouter(tags=["operations"])

_NEEDED = (FETCH, CPU, GPU, FINISH)
"""Queues that need a live worker for every kind of request to finish."""


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Liveness:
    """200 while this process responds. Needs neither a thread nor Redis."""
    return {"status": "alive"}


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    responses={
        200: {"model": Readiness},
        503: {"description": "What is missing", "model": Readiness | ErrorResponse},
    },
)
def ready(services: ServicesDep) -> JSONResponse:
    """200 if a request would succeed. Otherwise 503 with what is missing, also while this process
    shuts down."""
    checks = _checks(services)
    is_ready = all(checks.values())
    body: Readiness = {"status": "ready" if is_ready else "not ready", "checks": checks}
    return JSONResponse(body, status_code=200 if is_ready else 503)


@metrics.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format of Prometheus",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def prometheus(redis: AsyncRedisDep, tally: TallyDep) -> Response:
    """Requests, queues, workers, devices. All are in Redis, so every replica shows the same."""
    with suppress(ResponseError):  # a full Redis refuses writes, not reads
        await tally.flush(redis)
    snapshot = await take_snapshot(redis)
    return Response(await run_in_threadpool(render, snapshot), media_type=CONTENT_TYPE_LATEST)


def _checks(services: Services) -> dict[str, bool]:
    api = not services.drain.leaving
    try:
        services.redis.ping()
        workers = {f"{queue}_worker": services.jobs.workers(queue) > 0 for queue in _NEEDED}
        return {"api": api, "redis": True, **workers}
    except RedisError:
        return {"api": api, "redis": False} | {f"{queue}_worker": False for queue in _NEEDED}

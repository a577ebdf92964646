"""For whoever runs the server: liveness, readiness, numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from redis.exceptions import RedisError

from app.api.answers import ErrorAnswer, Liveness, Readiness
from app.api.services import Services, ServicesDep
from app.core.queue import CPU, GPU

router = APIRouter(tags=["operations"])
metrics = APIRouter(tags=["operations"])


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Liveness:
    """200 as long as this process answers; needs no thread, so it does even without Redis."""
    return {"status": "alive"}


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    responses={
        200: {"model": Readiness},
        503: {"description": "What is missing", "model": Readiness | ErrorAnswer},
    },
)
def ready(services: ServicesDep) -> JSONResponse:
    """200 when a request would succeed; 503 with what is missing otherwise, and as soon as this
    process has been asked to stop."""
    checks = _checks(services)
    good = all(checks.values())
    body: Readiness = {"status": "ready" if good else "not ready", "checks": checks}
    return JSONResponse(body, status_code=200 if good else 503)


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
def prometheus(services: ServicesDep) -> Response:
    """Queue lengths and live workers; the same from every replica, since all of it is in Redis."""
    registry = CollectorRegistry()
    waiting = Gauge("flux_jobs_waiting", "Jobs waiting on a queue", ["queue"], registry=registry)
    workers = Gauge("flux_workers", "Live workers of a queue", ["queue"], registry=registry)
    for queue in (CPU, GPU):
        waiting.labels(queue).set(services.jobs.waiting(queue))
        workers.labels(queue).set(services.jobs.workers(queue))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _checks(services: Services) -> dict[str, bool]:
    try:
        services.redis.ping()
        return {
            "api": not services.drain.leaving,
            "redis": True,
            "cpu_worker": services.jobs.workers(CPU) > 0,
            "gpu_worker": services.jobs.workers(GPU) > 0,
        }
    except RedisError:
        api = not services.drain.leaving
        return {"api": api, "redis": False, "cpu_worker": False, "gpu_worker": False}

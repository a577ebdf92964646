"""Liveness, readiness and metrics, with and without workers and Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import SimpleWorker

from app.api.deps import Services
from app.core.queueing.jobs import Jobs

QUEUES = ("fetch", "cpu", "gpu", "finish")


@pytest.fixture
def workers(redis: Redis) -> Iterator[dict[str, SimpleWorker]]:
    """One of each queue that a request needs."""
    jobs = Jobs(redis, ttl_s=60)
    made = {name: SimpleWorker([jobs.queue(name)], connection=redis) for name in QUEUES}
    for worker in made.values():
        worker.register_birth()
    yield made
    for worker in made.values():
        worker.register_death()


def checks(**other: bool) -> dict[str, bool]:
    """All good, but for these."""
    good = {"api": True, "redis": True, **{f"{queue}_worker": True for queue in QUEUES}}
    return good | other


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_the_operations_endpoints_need_no_key(api: TestClient, path: str) -> None:
    assert api.get(path, headers={"x-api-key": ""}).status_code in (200, 503)


def test_a_process_that_answers_is_alive(api: TestClient) -> None:
    answer = api.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert api.head("/health/live").status_code == 200


@pytest.mark.usefixtures("workers")
def test_a_server_with_all_its_workers_is_ready(api: TestClient) -> None:
    answer = api.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": checks()})
    head = api.head("/health/ready")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("queue", QUEUES)
def test_a_server_without_one_of_them_is_not(
    api: TestClient, workers: dict[str, SimpleWorker], queue: str
) -> None:
    workers[queue].register_death()
    answer = api.get("/health/ready")
    assert answer.status_code == 503
    expected = checks(**{f"{queue}_worker": False})
    assert answer.json() == {"status": "not ready", "checks": expected}
    assert api.head("/health/ready").status_code == 503


@pytest.mark.usefixtures("workers")
def test_a_server_that_is_shutting_down_is_not_ready(api: TestClient, inside: Services) -> None:
    inside.drain.leaving = True
    try:
        answer = api.get("/health/ready")
    finally:
        inside.drain.leaving = False
    assert (answer.status_code, answer.json()["checks"]) == (503, checks(api=False))


@pytest.mark.usefixtures("workers")
def test_a_server_without_redis_is_not(
    api: TestClient, inside: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(inside.redis, "ping", away)
    answer = api.get("/health/ready")
    none = dict.fromkeys(checks(), False) | {"api": True}
    assert (answer.status_code, answer.json()["checks"]) == (503, none)


def test_metrics_are_text_of_prometheus(api: TestClient) -> None:
    api.get("/health/live")
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    counted = 'flux_http_requests_total{method="GET",route="/health/live",status="200"} '
    assert counted in answer.text  # by this process, just now

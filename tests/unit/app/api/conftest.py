"""Fixtures of the endpoint tests: services on an empty Redis, an application without workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services, make_services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.settings import Settings
from app.main import create_app
from tests.support.endings import End, ending


@pytest.fixture
def services(redis: Redis, redis_server: str) -> Iterator[Services]:
    assert redis.dbsize() == 0
    made = make_services(Settings(redis_url=redis_server))
    yield made
    made.redis.close()


@pytest.fixture(scope="module")
def running(redis_server: str) -> Iterator[TestClient]:
    """One application for all tests of a file: its first answer takes half a second."""
    app = create_app(Settings(redis_url=redis_server))
    with TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def api(running: TestClient, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client of team-a, on an empty Redis."""
    for module in ("forecast", "generation_time"):  # nothing of the test before
        monkeypatch.setattr(f"app.core.queueing.{module}._FRESH_S", 0.0)
    running.headers["x-api-key"] = KeyStore(redis).create("team-a", Terms())[0]
    return running


@pytest.fixture
def inside(api: TestClient) -> Services:
    """What the endpoints of `api` share."""
    assert isinstance(api.app, FastAPI)
    services = api.app.state.services
    assert isinstance(services, Services)
    return services


@pytest.fixture
def ends(redis_server: str) -> Iterator[list[End]]:
    """How the requests of the test end, in the order in which they are submitted."""
    with ending(redis_server) as endings:
        yield endings

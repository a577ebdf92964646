"""Who may submit, over the application without workers: bounds of the server and of a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.errors import GenerationFailed
from app.core.queueing.jobs import CPU, GPU, Jobs
from app.core.requests.record import Stage
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.main import create_app
from tests.support.bodies import small
from tests.support.records import prepared
from tests.support.wire import V1, V2

BODY = {"image": "aGVsbG8=", "prompt": "x"}
Make = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted reaches Redis by /metrics and at the end only, not by the clock."""
    monkeypatch.setattr("app.api.middleware.access_log.FLUSH_PERIOD_S", 3600.0)


@pytest.fixture
def application(redis: Redis, redis_server: str) -> Iterator[Make]:  # noqa: ARG001  # empty
    made: list[TestClient] = []

    def make(**settings: Any) -> TestClient:
        app = create_app(Settings(redis_url=redis_server, **settings))
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        client.__enter__()
        made.append(client)
        return client

    yield make
    for client in made:
        client.__exit__(None, None, None)


def key(redis: Redis, name: str = "team-a", **terms: Any) -> dict[str, str]:
    """The header of a new key."""
    return {"x-api-key": KeyStore(redis).create(name, Terms(**terms))[0]}


def stored(redis: Redis) -> dict[bytes, bytes | None]:
    """All that Redis holds, but for when keys were used."""
    return {name: redis.dump(name) for name in redis.scan_iter() if name != b"keys:used"}


def test_a_full_queue_is_503_before_anything_is_stored(application: Make, redis: Redis) -> None:
    api, team = application(max_queued=2), key(redis)
    made = [api.post(V2, json=BODY, headers=team).json()["request_id"] for _ in range(2)]
    before = stored(redis)
    for path in (V1, V2):
        refused = api.post(path, json=BODY, headers=team)
        assert refused.status_code == 503
        assert refused.json()["error"].startswith("The service is overloaded: 2 requests wait")
        assert refused.headers["retry-after"] == "60"
    assert stored(redis) == before
    assert api.get(f"/v2/requests/{made[0]}/status", headers=team).status_code == 200
    RequestStore(redis, 60).fail(made[0], GenerationFailed())
    assert api.post(V2, json=BODY, headers=team).status_code == 200


def test_a_full_memory_is_503(application: Make, redis: Redis) -> None:
    team = key(redis)
    redis.config_set("maxmemory", 2**30)
    try:
        refused = application(memory_watermark=1e-6).post(V2, json=BODY, headers=team)
        accepted = application().post(V2, json=BODY, headers=team)
    finally:
        redis.config_set("maxmemory", 0)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert accepted.status_code == 200


def test_requests_a_minute(application: Make, redis: Redis) -> None:
    api, team, other = application(), key(redis, rpm=3), key(redis, rpm=3)
    made = [api.post(V2, json=BODY, headers=team) for _ in range(3)]
    assert [answer.status_code for answer in made] == [200] * 3
    for path in (V1, V2):
        refused = api.post(path, json=BODY, headers=team)
        assert refused.status_code == 429
        assert refused.json()["error"].startswith(
            "Rate limit exceeded: at most 3 requests a minute"
        )
        assert 50 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-rate-limit-remaining"] == "0"
        reset = datetime.fromisoformat(refused.headers["x-rate-limit-reset-at-utc"])
        assert 50 <= reset.timestamp() - datetime.now(UTC).timestamp() <= 61
    assert api.post(V2, json=BODY, headers=other).status_code == 200
    url = made[0].json()["status_url"]
    polls = {api.get(url, headers=team).status_code for _ in range(20)}
    assert polls == {200}


@pytest.mark.parametrize(("path", "status"), [(V1, 406), (V2, 402)])
def test_a_budget_that_is_too_small(
    application: Make, redis: Redis, path: str, status: int
) -> None:
    """The size of an inline picture is known from its header: 128x128, 15 evaluations."""
    cost = 128 * 128 / 2**20 * 15
    api, team = application(sync_timeout_s=0.01), key(redis, credits=cost - 1e-9)
    before = set(redis.keys())
    refused = api.post(path, json=small(), headers=team)
    assert refused.status_code == status
    left = cost - 1e-9
    assert refused.json() == {
        "error": f"Insufficient credits. You have {left} credits, and this request needs {cost}"
    }
    assert set(redis.keys()) - before == {b"keys:used"}
    exact = key(redis, credits=cost)
    assert api.post(path, json=small(), headers=exact).status_code in (200, 504)
    left = api.get("/v1/get-user-credits", headers=exact).json()
    assert left == {"credits": 0.0, "free-credits": 0.0, "unlimited": False}


@pytest.mark.parametrize(
    ("changes", "reserved"),
    [
        ({"image": "http://host.example/a.png"}, 20.0),  # 1024x1024 until it is known
        ({"image": "http://host.example/a.png", "samples": 3, "steps": 30}, 90.0),
        ({"use_input_img_dimension": False, "custom_width": 512}, 10.0),
        ({"use_input_img_dimension": False, "custom_width": 512, "sampler": "heun"}, 19.5),
    ],
)
def test_a_submission_reserves_the_credits_of_its_work(
    application: Make, redis: Redis, changes: dict[str, Any], reserved: float
) -> None:
    api, team = application(credits_per_work_unit=0.5), key(redis, credits=100)
    assert api.post(V2, json={**BODY, **changes}, headers=team).status_code == 200
    left = api.get("/v1/get-user-credits", headers=team).json()["credits"]
    assert left == 100 - reserved / 2


def test_a_redis_that_is_full_can_be_polled_and_made_room_in(
    application: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.queueing.admission._MEMORY_S", 0.0)
    api, team = application(), key(redis)
    request_id = api.post(V2, json=BODY, headers=team).json()["request_id"]
    redis.config_set("maxmemory", 1)
    try:
        polled = api.get(f"/v2/requests/{request_id}/status", headers=team)
        upload = api.post("/upload-asset", json={"data_urls": ["data:,"]}, headers=team)
        cancelled = api.delete(f"/v2/requests/{request_id}", headers=team)
    finally:
        redis.config_set("maxmemory", 0)
    assert (polled.status_code, polled.json()["queue_position"]) == (200, 1)
    assert (upload.status_code, "retry-after" in upload.headers) == (503, True)
    assert (cancelled.status_code, cancelled.json()["error"]) == (200, "cancelled")


def test_a_key_that_expires_is_no_key(application: Make, redis: Redis) -> None:
    api, team = application(), key(redis, expires_at=time.time() - 1)
    refused = api.post(V2, json=BODY, headers=team)
    assert refused.status_code == 401
    assert refused.json()["error"].startswith(
        "Unauthorized. API key is invalid or may have expired"
    )


def test_two_hundred_requests_do_not_delay_another_keys_first(
    application: Make, redis: Redis
) -> None:
    """Queued over HTTP, and carried by hand to the gpu queue in the order that RQ gives."""
    api, jobs, store = application(), Jobs(redis, 600), RequestStore(redis, 600)
    many, one = key(redis, "team-a"), key(redis, "team-b")
    for _ in range(200):
        api.post(V2, json=BODY, headers=many)
    theirs = api.post(V2, json=BODY, headers=one).json()["request_id"]
    started = []
    for _ in range(201):
        job = redis.lpop(jobs.queue(CPU).key)
        if job is not None:
            request_id = job.decode().partition("-")[0]
            store.claim(request_id, Stage.PREPARE, "p")
            store.advance(request_id, Stage.PREPARE, "p", prepared(work=20.0))
            jobs.enqueue(request_id, Stage.GENERATE)
        if len(started) < 3:  # the gpu is slower
            begun = redis.lpop(jobs.queue(GPU).key)
            started.append(begun.decode().partition("-")[0])
    assert started.index(theirs) == 1

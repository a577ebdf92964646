"""What is counted and said of a call, whatever becomes of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.core.accounts.api_keys import KeyStore, mint
from app.core.redis import keys
from app.core.settings import Settings
from app.main import create_app

V2 = "/v2/flux-controlnet"


@pytest.fixture(autouse=True)
def _no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted reaches Redis by /metrics and at the end only, not by the clock."""
    monkeypatch.setattr("app.api.middleware.access_log.FLUSH_PERIOD_S", 3600.0)


@pytest.fixture
def api(redis: Redis, redis_server: str) -> Iterator[TestClient]:
    """With a key; an endpoint that breaks is added."""
    secret = mint()
    KeyStore(redis).add(secret, "team-a")
    app = create_app(Settings(redis_url=redis_server, max_body_bytes=1024))
    app.add_api_route("/broken/{name}", lambda name: 1 // 0, methods=["GET"])  # noqa: ARG005
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["x-api-key"] = secret
        yield client


def counted(redis: Redis) -> dict[str, float]:
    found = {name.decode(): float(value) for name, value in redis.hgetall(keys.COUNTERS).items()}
    return {name: value for name, value in found.items() if not name.startswith("http_seconds")}


def test_the_counts_of_a_process_outlive_it(redis: Redis, redis_server: str) -> None:
    with TestClient(create_app(Settings(redis_url=redis_server))) as client:
        client.get("/health/live")
        assert counted(redis) == {}
    assert counted(redis) == {"http|GET|/health/live|200": 1}


def test_paths_make_no_series_of_their_own(api: TestClient, redis: Redis) -> None:
    for path in ("/nothing/1", "/nothing/2", f"/v2/requests/{'a' * 32}", "/broken/x"):
        api.get(path)
    api.request("BREW", "/health/live")
    api.get("/metrics")
    assert counted(redis) == {
        "http|GET|none|404": 2,
        "http|GET|/v2/requests/{request_id}|404": 1,
        "http|GET|/broken/{name}|500": 1,
        "http|other|/health/live|405": 1,
    }


def test_a_redis_that_is_full_can_still_be_looked_at(api: TestClient, redis: Redis) -> None:
    api.get("/health/live")
    redis.config_set("maxmemory", 1)
    try:
        text = api.get("/metrics").text
    finally:
        redis.config_set("maxmemory", 0)
    assert "flux_redis_memory_max_bytes 1.0" in text
    assert 'route="/health/live",status="200"' not in text
    assert 'route="/health/live",status="200"} 1.0' in api.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "headers", "refused"),
    [
        ({"prompt": "x"}, {}, "400|InvalidRequest"),
        ({"prompt": "x"}, {"x-api-key": "no"}, "401|Unauthorized"),
        ({"prompt": "x" * 2000}, {}, "413|BodyTooLarge"),
        ({"prompt": "x"}, {"content-type": "text/plain"}, "406|InvalidContentType"),
    ],
)
def test_a_refused_submission_says_why(
    api: TestClient, redis: Redis, body: dict[str, str], headers: dict[str, str], refused: str
) -> None:
    api.post(V2, json=body, headers=headers)
    api.get("/metrics")
    status = refused.partition("|")[0]
    assert counted(redis) == {f"refused|{refused}": 1, f"http|POST|{V2}|{status}": 1}


def test_a_call_is_one_line(api: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="app.access"):
        api.post(V2, json={"image": "aGVsbG8=", "prompt": "a secret"})
        api.get("/a%0aforged?prompt=secret", headers={"x-api-key": ""})
    accepted, lost = [record for record in caplog.records if record.name == "app.access"]
    assert re.match(r"POST /v2/flux-controlnet 200 in \d+\.\d{4} s", accepted.getMessage())
    assert re.match(r"GET /a%0Aforged 404 in \d+\.\d{4} s", lost.getMessage())
    assert not any("secret" in f"{one.getMessage()} {one.__dict__}" for one in (accepted, lost))
    assert accepted.fields["key_id"]  # type: ignore[attr-defined]
    assert lost.fields["refusal"] == "HTTPException"  # type: ignore[attr-defined]

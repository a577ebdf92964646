"""Calls from scripts of other origins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from redis import Redis

from app.api.deps import Services
from app.api.http.cors_policy import EXPOSED, CorsPolicy
from app.api.middleware.cors import MAX_AGE_S, METHODS, Cors
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.settings import Settings
from app.main import create_app
from tests.support.asgi import Inner, call, no_answer, no_message

APP = "https://app.example"
OTHER = "https://other.example"
BODY = {"image": "aGVsbG8=", "prompt": "x"}
ASKED = "x-api-key, content-type, idempotency-key, last-event-id"
LIMITS = {"max_body_bytes": 2000, "max_queued": 2}

POLICY = CorsPolicy(frozenset({APP}))


def application(redis_url: str, **settings: Any) -> TestClient:
    app = create_app(Settings(redis_url=redis_url, **settings))
    return TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def running(redis_server: str) -> Iterator[TestClient]:
    with application(redis_server, cors_origins=(APP,), **LIMITS) as client:
        yield client


@pytest.fixture
def browser(api: TestClient) -> Iterator[TestClient]:
    """A script of the listed origin, with a key."""
    api.headers["origin"] = APP
    yield api
    del api.headers["origin"]


def preflight(client: TestClient, path: str, origin: str = APP, names: str = ASKED) -> Response:
    """What a browser asks before a call that is not simple: without a key."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": names,
        "x-api-key": "",
    }
    return client.options(path, headers=headers)


def readable(answer: Response) -> int:
    """The status of an answer that the listed origin may read."""
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED)
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers
    return answer.status_code


def cors_headers(answer: Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


# ---- preflights


@pytest.mark.parametrize("path", ["/v2/flux-controlnet", "/v1/flux-controlnet/", "/nothing"])
def test_a_preflight_of_a_listed_origin_is_answered(browser: TestClient, path: str) -> None:
    answer = preflight(browser, path)
    assert readable(answer) == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-methods"] == METHODS
    assert answer.headers["access-control-allow-headers"] == ASKED
    assert answer.headers["access-control-max-age"] == str(MAX_AGE_S) == "7200"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_preflight_may_ask_for_no_header_or_any(browser: TestClient) -> None:
    named = preflight(browser, "/v2/flux-controlnet", names="traceparent, baggage")
    assert named.headers["access-control-allow-headers"] == "traceparent, baggage"
    bare = preflight(browser, "/v2/flux-controlnet", names="")
    assert bare.status_code == 204
    assert "access-control-allow-headers" not in bare.headers


@pytest.mark.parametrize("origin", [OTHER, "null", "https://app.example:444"])
def test_a_preflight_of_another_origin_is_an_unknown_method(
    browser: TestClient, origin: str
) -> None:
    answer = preflight(browser, "/v2/flux-controlnet", origin)
    assert (answer.status_code, cors_headers(answer)) == (405, [])
    assert answer.json() == {"error": "Method OPTIONS is not allowed here"}
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "path",
    ["/admin/keys", "/metrics", "/openapi.json", "/health/ready", "/%61dmin/keys", "/admin/"],
)
def test_a_closed_path_answers_no_other_origin(browser: TestClient, path: str) -> None:
    for answer in (preflight(browser, path), browser.get(path)):
        assert answer.status_code != 204
        assert cors_headers(answer) == []
        assert "vary" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": APP}, {"access-control-request-method": "POST"}],
    ids=["bare", "without a method", "without an origin"],
)
def test_other_options_requests_go_to_the_router(api: TestClient, headers: dict[str, str]) -> None:
    assert api.options("/v2/flux-controlnet", headers=headers).status_code == 405
    assert api.options("/nothing", headers=headers).status_code == 404


def test_a_preflight_costs_nothing_and_is_no_error(
    browser: TestClient, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    secret = KeyStore(redis).create("team-b", Terms(credits=100, rpm=1))[0]
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert preflight(browser, "/v2/flux-controlnet").status_code == 204
    lines = [record for record in caplog.records if record.name.startswith("app")]
    assert {record.levelname for record in lines} == {"INFO"}
    assert len(lines) == 3
    browser.headers["x-api-key"] = secret
    assert readable(browser.post("/v2/flux-controlnet", json=BODY)) == 200


# ---- errors


def test_a_wrong_key_is_readable(browser: TestClient) -> None:
    answer = browser.post("/v2/flux-controlnet", json=BODY, headers={"x-api-key": "SG_wrong"})
    assert readable(answer) == 401
    del browser.headers["x-api-key"]
    assert readable(browser.post("/v2/flux-controlnet", json=BODY)) == 401


def test_errors_of_the_router_are_readable(browser: TestClient) -> None:
    assert readable(browser.get("/v1/nothing")) == 404
    assert readable(browser.get("/nothing")) == 404
    assert readable(browser.get("/v2/flux-controlnet")) == 405
    assert readable(browser.get("/v2/requests/nothing")) == 404


def test_errors_of_bodies_are_readable(browser: TestClient) -> None:
    assert readable(browser.post("/v2/flux-controlnet", json={})) == 400
    assert readable(browser.post("/v2/flux-controlnet", content=b"x")) == 406
    for content in (b"x" * 2001, iter([b"x" * 1500, b"x" * 1500])):
        answer = browser.post(
            "/v2/flux-controlnet", content=content, headers={"content-type": "application/json"}
        )
        assert readable(answer) == 413


def test_limits_are_readable(browser: TestClient, redis: Redis) -> None:
    poor = KeyStore(redis).create("team-b", Terms(credits=1))[0]
    answer = browser.post("/v2/flux-controlnet", json=BODY, headers={"x-api-key": poor})
    assert readable(answer) == 402
    slow = {"x-api-key": KeyStore(redis).create("team-c", Terms(rpm=1))[0]}
    assert readable(browser.post("/v2/flux-controlnet", json=BODY, headers=slow)) == 200
    answer = browser.post("/v2/flux-controlnet", json=BODY, headers=slow)
    assert readable(answer) == 429
    assert {"retry-after", "x-rate-limit-remaining"} <= answer.headers.keys() & set(EXPOSED)
    assert readable(browser.post("/v2/flux-controlnet", json=BODY)) == 200
    answer = browser.post("/v2/flux-controlnet", json=BODY)
    assert readable(answer) == 503
    assert "retry-after" in answer.headers


def test_an_unexpected_error_is_readable(
    browser: TestClient, inside: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starlette sends it outside of every middleware."""

    async def broken() -> None:
        raise ValueError("secret")

    monkeypatch.setattr(type(inside.admission), "check_memory", lambda _self: broken())
    assert readable(browser.post("/v2/flux-controlnet", json=BODY)) == 500
    answer = browser.post("/v2/flux-controlnet", json=BODY, headers={"origin": OTHER})
    assert (answer.status_code, cors_headers(answer)) == (500, [])


def test_a_draining_server_is_readable(browser: TestClient, inside: Services) -> None:
    inside.drain.leaving = True
    try:
        answer = browser.get("/v1/nothing")
        assert (readable(answer), answer.headers["connection"]) == (404, "close")
        assert readable(preflight(browser, "/v2/flux-controlnet")) == 204
    finally:
        inside.drain.leaving = False


# ---- other origins, other settings


@pytest.mark.parametrize("origin", [OTHER, "null", ""])
def test_another_origin_is_served_as_without_the_setting(api: TestClient, origin: str) -> None:
    """The browser keeps the response from the script; other clients send what they like."""
    answer = api.post("/v2/flux-controlnet", json=BODY, headers={"origin": origin})
    assert (answer.status_code, cors_headers(answer)) == (200, [])
    assert answer.headers["vary"] == "Origin"


def test_a_response_to_a_call_without_an_origin_depends_on_it_too(api: TestClient) -> None:
    """Or the browser's cache would give the picture of an `img` to a script, which fails."""
    answer = api.get("/files/x/0.png")
    assert (answer.status_code, cors_headers(answer)) == (404, [])
    assert answer.headers["vary"] == "Origin"


def test_every_origin_may_be_allowed(redis_server: str) -> None:
    with application(redis_server, cors_origins=("*",)) as client:
        for origin in (OTHER, "null"):
            answer = client.get("/v2/requests/x", headers={"origin": origin})
            assert answer.status_code == 401
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "vary" not in answer.headers
            asked = preflight(client, "/v2/flux-controlnet", origin)
            assert asked.status_code == 204
            assert asked.headers["access-control-allow-origin"] == "*"
            assert asked.headers["access-control-allow-headers"] == ASKED
        assert cors_headers(client.get("/openapi.json", headers={"origin": OTHER})) == []


def test_without_the_setting_nothing_is_there(redis_server: str) -> None:
    with application(redis_server) as client:
        assert isinstance(client.app, FastAPI)
        assert all(entry.cls is not Cors for entry in client.app.user_middleware)
        for answer in (
            preflight(client, "/v2/flux-controlnet"),
            client.get("/v2/requests/x", headers={"origin": APP}),
            client.get("/nothing", headers={"origin": APP}),
        ):
            assert answer.status_code in (401, 404, 405)
            assert cors_headers(answer) == []
            assert "vary" not in answer.headers


def test_the_prefix_of_the_public_url_opens_and_closes_nothing(redis_server: str) -> None:
    settings = {"cors_origins": (APP,), "public_url": "https://pictures.example/api"}
    with application(redis_server, **settings) as client:
        for prefix in ("", "/api"):
            assert preflight(client, f"{prefix}/v2/flux-controlnet").status_code == 204
            assert cors_headers(preflight(client, f"{prefix}/admin/keys")) == []


def test_the_headers_of_a_response_stay() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"vary", b"Accept")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    start, body = call(Cors(app, POLICY), path="/x", headers=[(b"origin", APP.encode())])
    assert start["headers"] == [
        (b"vary", b"Accept"),
        (b"access-control-allow-origin", APP.encode()),
        (b"access-control-expose-headers", ", ".join(EXPOSED).encode()),
        (b"vary", b"Origin"),
    ]
    assert body["body"] == b"x"


def test_a_scope_that_is_not_http_passes() -> None:
    inner = Inner()
    scope = {"type": "lifespan"}
    asyncio.run(Cors(inner, POLICY)(scope, no_message, no_answer))
    assert inner.scopes == [scope]
    assert inner.scopes[0] is scope

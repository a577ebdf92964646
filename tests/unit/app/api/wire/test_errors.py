"""Every error of an endpoint is one sentence of JSON, wherever it was raised."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.wire.errors import CLIENT_CLOSED_REQUEST, error_response, install_error_handlers
from app.core.errors import Conflict, Overloaded

SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.fixture(scope="module")
def api() -> Iterator[TestClient]:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install_error_handlers(app, None, "/prefix")
    raised: dict[str, Exception] = {
        "ours": Overloaded("no room", 7),
        "redis": RedisConnectionError("secret address"),
        "http": HTTPException(418, "short and stout"),
        "gone": ClientDisconnect(),
        "other": ValueError("secret"),
    }

    @app.get("/v1/images/{name}")
    @app.get("/raise/{name}")
    @app.put("/raise/{name}")
    async def fail(name: str) -> None:
        raise raised[name]

    @app.delete("/raise/{name}")
    async def nothing(name: str) -> None: ...

    @app.head("/query")
    @app.options("/query")
    @app.patch("/query")
    async def nobody_asks() -> None: ...

    @app.get("/query")
    async def query(page: Annotated[int, Query(ge=1)], size: int) -> None: ...

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the handlers note about their calls."""
    noted: list[str] = []
    monkeypatch.setattr("app.api.wire.errors.note", lambda refusal: noted.append(refusal))
    return noted


def test_an_error_of_ours_has_its_status_sentence_and_headers(
    api: TestClient, refusals: list[str]
) -> None:
    answer = api.get("/raise/ours")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json() == {"error": "The service is overloaded: no room. Please try again in 7 s"}
    assert refusals == ["Overloaded"]


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("ours", 503, "server_error"),
        ("redis", 503, "server_error"),
        ("other", 500, "server_error"),
        ("nothing/at/all", 404, "invalid_request_error"),
    ],
)
def test_an_error_on_a_path_of_openai_has_its_shape(
    api: TestClient, name: str, status: int, kind: str
) -> None:
    answer = api.get(f"/v1/images/{name}")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind)
    assert isinstance(error["message"], str)
    assert api.post("/v1/images/ours").json()["error"]["type"] == "invalid_request_error"


def test_the_prefix_of_a_path_makes_no_difference_to_an_unexpected_error() -> None:
    app = FastAPI(openapi_url=None)
    install_error_handlers(app, None, "/prefix")
    app.add_api_route("/prefix/v1/models", lambda: 1 // 0)
    with TestClient(app, raise_server_exceptions=False) as client:
        error = client.get("/prefix/v1/models").json()["error"]
    assert error["message"] == "Internal server error"


def test_an_error_may_say_more_than_its_sentence() -> None:
    response = error_response(Conflict("no"), request_id="a")
    assert (response.status_code, response.body) == (409, b'{"error":"no","request_id":"a"}')


def test_an_unknown_path_is_404_and_named(api: TestClient, refusals: list[str]) -> None:
    answer = api.get("/nothing/é?secret=1")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found: /nothing/é"})
    assert refusals == ["HTTPException"]


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/raise/x", "POST", "GET, PUT, DELETE"),
        ("/query", "DELETE", "GET, HEAD, PATCH, OPTIONS"),
        ("/raise/x", "BREW", "GET, PUT, DELETE"),
    ],
)
def test_a_wrong_verb_is_405_with_those_that_are_right(
    api: TestClient, path: str, method: str, allow: str
) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.json() == {"error": f"Method {method} is not allowed here"}


def test_another_error_of_the_framework_keeps_its_status(api: TestClient) -> None:
    answer = api.get("/raise/http")
    assert (answer.status_code, answer.json()) == (418, {"error": "short and stout"})


def test_the_faults_of_a_query_are_one_sentence(api: TestClient, refusals: list[str]) -> None:
    answer = api.get("/query?page=0&size=x")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "page: Input should be greater than or equal to 1; "
        "size: Input should be a valid integer, unable to parse string as an integer"
    }
    assert refusals == []


def test_redis_that_is_away_is_503_and_in_the_log(
    api: TestClient, refusals: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = api.get("/raise/redis")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The service is temporarily unavailable, please try again"}
    assert refusals == ["Unavailable"]
    assert ("app.api.wire.errors", logging.ERROR, "redis: secret address") in caplog.record_tuples


def test_an_unexpected_error_is_500_safe_and_in_the_log(
    api: TestClient, refusals: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = api.get("/raise/other")
    assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})
    assert answer.headers.items() >= SAFE.items()
    assert refusals == ["ServerError"]
    [logged] = [record for record in caplog.records if record.name == "app.api.wire.errors"]
    assert logged.levelno == logging.ERROR
    assert logged.exc_info is not None
    assert str(logged.exc_info[1]) == "secret"


def test_a_client_that_has_left_is_499(api: TestClient, refusals: list[str]) -> None:
    answer = api.get("/raise/gone")
    assert (answer.status_code, answer.content, CLIENT_CLOSED_REQUEST) == (499, b"", 499)
    assert refusals == []

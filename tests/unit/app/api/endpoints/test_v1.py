"""v1: the response when the request ends, when the wait times out, and after a disconnect."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import Response
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services, make_services
from app.api.endpoints.v1 import answer_at_the_end
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.errors import Cancelled, ContentWithheld, GenerationFailed, ImageRejected, TimedOut
from app.core.requests.record import RequestRecord, Status
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.main import create_app
from tests.support.endings import End, made
from tests.support.records import REQUEST_ID, begin, queued
from tests.support.wire import V1

BODY = {"image": "aGVsbG8=", "prompt": "x", "seed": 5}
GOES_ON = "the request goes on and its result can be fetched from /v2/requests"


# ---- a picture


@pytest.mark.parametrize("path", [V1, "/flux-controlnet", f"{V1}/"])
def test_a_picture_is_the_answer(api: TestClient, ends: list[End], path: str) -> None:
    ends.append(made(b"first", b"second", kind="png"))
    before = datetime.now(UTC)
    answer = api.post(path, json=BODY)
    assert (answer.status_code, answer.content) == (200, b"first")
    request_id = answer.headers["x-request-id"]
    ours = {name: of for name, of in answer.headers.items() if name.startswith("x-")}
    reset = datetime.fromisoformat(ours.pop("x-rate-limit-reset-at-utc"))
    assert before < reset <= datetime.now(UTC) + timedelta(minutes=1)
    assert ours == {
        "x-request-id": request_id,
        "x-generation-time": "13.500000",
        "x-seed-value": "5",
        "x-output-count": "2",
        "x-output-metadata": '{"height": 264, "width": 520, "samples": 2}',
        "x-profile": "fast",
        "x-remaining-credits": ours["x-remaining-credits"],
        "x-cost": "5.5",
        "x-content-type-options": "nosniff",
    }
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == "5"


@pytest.mark.usefixtures("far_from_utc")
def test_a_key_without_a_rate_limit_gets_the_next_minute_in_utc(
    api: TestClient, ends: list[End]
) -> None:
    ends.append(made(b"x"))
    before = datetime.now(UTC)
    reset_at = api.post(V1, json=BODY).headers["x-rate-limit-reset-at-utc"]
    begin_of = [at.replace(second=0, microsecond=0) for at in (before, datetime.now(UTC))]
    expected = {(at + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:00.000Z") for at in begin_of}
    assert reset_at in expected


def test_a_key_with_a_rate_limit_gets_the_remaining_calls(
    api: TestClient, ends: list[End], redis: Redis
) -> None:
    ends.append(made(b"x"))
    secret, _ = KeyStore(redis).create("team-b", Terms(rpm=5, credits=100.0))
    headers = api.post(V1, json=BODY, headers={"x-api-key": secret}).headers
    assert headers["x-rate-limit-remaining"] == "4"
    assert headers["x-remaining-credits"] == "94.5"
    assert headers["x-cost"] == "5.5"


@pytest.mark.parametrize("profile", ["", "turbo"])
@pytest.mark.parametrize("many", [1, 2])
def test_base64_is_json_with_the_keys_of_the_page(
    api: TestClient, ends: list[End], profile: str, many: int
) -> None:
    files = [b"first", b"second"][:many]
    ends.append(made(*files))
    asked = (
        BODY | {"base64": True, "image_format": "webp"} | ({"profile": profile} if profile else {})
    )
    answer = api.post(V1, json=asked)
    texts = [base64.b64encode(data).decode() for data in files]
    expected: dict[str, Any] = {
        "image": texts if many > 1 else texts[0],
        "status": "Success",
        "infer_time": 13.5,
        "outputs": many,
        "image_format": "webp",
    }
    assert answer.status_code == 200
    assert answer.json() == expected | ({"profile": "fast"} if profile else {})
    assert answer.headers["x-output-count"] == str(many)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageRejected("image: no"), 400),
        (ContentWithheld(), 400),
        (Cancelled(), 409),
        (GenerationFailed(), 500),
        (TimedOut(), 504),
    ],
)
def test_a_request_that_failed_has_its_own_status(
    api: TestClient, ends: list[End], error: Any, status: int
) -> None:
    ends.append(lambda store, request_id: store.fail(request_id, error))
    answer = api.post(V1, json=BODY)
    assert answer.status_code == status
    assert answer.json() == {"error": error.text}
    assert len(answer.headers["x-request-id"]) == 32


def test_a_body_is_judged_before_it_is_queued(api: TestClient) -> None:
    answer = api.post(V1, json={"image": "a"})
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


# ---- no picture


def test_a_request_continues_after_its_v1_call_timed_out(redis: Redis, redis_server: str) -> None:
    app = create_app(Settings(redis_url=redis_server, sync_timeout_s=0.01))
    headers = {"x-api-key": KeyStore(redis).create("team-a", Terms())[0]}
    with TestClient(app, base_url="http://localhost", headers=headers) as api:
        answer = api.post(V1, json=BODY)
    assert answer.status_code == 504
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {"error": f"Request timed out; {GOES_ON}", "request_id": request_id}
    record = RequestStore(redis, 60).get(request_id)
    assert record is not None
    assert record.status is Status.QUEUED


def waited(
    redis_url: str, receive: Callable[[], dict[str, str]] | None, **options: Any
) -> Response:
    """The answer to a call that waits for REQUEST_ID: with `receive`, of a client that says so;
    without, of a process that shuts down."""

    async def run() -> Response:
        services = make_services(Settings(redis_url=redis_url, sync_timeout_s=60))
        waiting = asyncio.Event()

        async def message() -> dict[str, str]:
            waiting.set()
            if receive is not None:
                return receive()
            await asyncio.Event().wait()
            return {}

        request = Request({"type": "http", "path": V1, "headers": []}, message)

        def answer(_services: Services, record: RequestRecord) -> Response:
            return Response(record.status)

        call = answer_at_the_end(request, services, REQUEST_ID, answer, **options)
        task = asyncio.create_task(call)
        await waiting.wait()
        if receive is None:
            task.cancel()
        found = await task
        await services.feed.aclose()
        await services.async_redis.aclose()
        services.redis.close()
        return found

    return asyncio.run(run())


def test_a_process_that_stops_says_so(redis: Redis, redis_server: str) -> None:
    queued(RequestStore(redis, 60))
    answer = waited(redis_server, None)
    assert answer.status_code == 503
    assert json.loads(bytes(answer.body)) == {
        "error": f"The server is stopping; {GOES_ON}",
        "request_id": REQUEST_ID,
    }
    assert answer.headers["x-request-id"] == REQUEST_ID


@pytest.mark.parametrize("returns", [False, True])
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_client_that_hangs_up_ends_what_has_not_begun(
    redis: Redis, redis_server: str, returns: bool, is_begun: bool
) -> None:
    """Unless it has a key by which it may come back."""
    store = RequestStore(redis, 60)
    queued(store)
    if is_begun:
        begin(store, REQUEST_ID)
    answer = waited(redis_server, lambda: {"type": "http.disconnect"}, returns=returns)
    assert (answer.status_code, answer.body) == (499, b"")
    record = store.get(REQUEST_ID)
    assert record is not None
    if returns or is_begun:
        assert not record.status.terminal
    else:
        assert record.status is Status.FAILED
        assert record.error == "cancelled: the client hung up before the request began"
        assert record.error_status == 409

"""DELETE /v2/requests/{id}."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from redis import Redis

from app.core.accounts.api_keys import KeyStore
from tests.support.bodies import slow, small
from tests.support.servers import Server, a_key
from tests.support.sse import all_events, events
from tests.support.waiting import until
from tests.support.wire import V1, V2, finished, wait_for_end


def submitted(http: httpx.Client, **changes: object) -> str:
    return str(http.post(V2, json=slow(4, **changes)).json()["request_id"])


def test_a_running_request_ends_and_the_next_one_is_untouched(
    http: httpx.Client, server: Server
) -> None:
    alone = finished(http, small(seed=3, image_format="png"))
    request_id = submitted(http)
    following = http.post(V2, json=small(seed=3, image_format="png")).json()["request_id"]
    with (
        httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as plain,
        events(plain, request_id) as stream,
    ):
        assert any(event.name == "step" for event in stream)  # the first one
        cancelled = http.delete(f"/v2/requests/{request_id}")
        rest = list(stream)
    assert cancelled.status_code == 200
    body = cancelled.json()
    assert (body["status"], body["error"]) == ("FAILED", "cancelled")
    assert rest[-1].name == "failed"
    assert rest[-1].data == body
    status = http.get(f"/v2/requests/{request_id}/status")
    assert (status.status_code, status.json()) == (422, body)
    result = wait_for_end(http, f"/v2/requests/{following}")
    pictures = [http.get(each["output"]).content for each in (alone, result.json())]
    assert pictures[0] == pictures[1]
    assert http.delete(f"/v2/requests/{request_id}").json() == body


def test_a_queued_request_ends_at_once_and_leaves_nothing(
    http: httpx.Client, server: Server
) -> None:
    first, second = submitted(http), submitted(http)
    body = http.delete(f"/v2/requests/{second}").json()
    assert (body["status"], body["error"]) == ("FAILED", "cancelled")
    assert body["metrics"]["inference_time"] == 0
    http.delete(f"/v2/requests/{first}")
    with Redis.from_url(server.redis_url) as redis:
        until(lambda: not redis.keys(f"blob:{first}:*"), "nothing kept of the first")
        until(lambda: not redis.keys(f"blob:{second}:*"), "nothing kept of the second")


def test_cancelling_an_ended_request_returns_its_final_state(http: httpx.Client) -> None:
    request_id = finished(http, small())["request_id"]
    status = http.get(f"/v2/requests/{request_id}/status").json()
    cancelled = http.delete(f"/v2/requests/{request_id}")
    assert (cancelled.status_code, cancelled.json()) == (200, status)
    assert http.get(f"/v2/requests/{request_id}").json()["status"] == "COMPLETED"


def test_a_key_cannot_cancel_the_requests_of_another_key(
    http: httpx.Client, server: Server
) -> None:
    request_id = submitted(http)
    stranger = a_key(server.redis_url)
    with Redis.from_url(server.redis_url) as redis:
        KeyStore(redis).add(stranger, "stranger")
    url = f"/v2/requests/{request_id}"
    assert http.delete(url, headers={"x-api-key": stranger}).status_code == 404
    assert http.delete(url, headers={"x-api-key": ""}).status_code == 401
    assert http.get(f"{url}/status").status_code == 200
    http.delete(url)


def test_a_waiting_v1_call_gets_the_cancellation(http: httpx.Client, server: Server) -> None:
    key = {"idempotency-key": f"cancelled-{time.time_ns()}"}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(http.post, V1, json=slow(4), headers=key)
        request_id = http.post(V2, json=slow(4), headers=key).json()["request_id"]
        http.delete(f"/v2/requests/{request_id}")
        answer = waiting.result()
    assert (answer.status_code, answer.json()) == (409, {"error": "cancelled"})
    assert answer.headers["x-request-id"] == request_id
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as plain:
        assert all_events(plain, request_id)[-1].name == "failed"

"""GET /v2/requests/{id}/events and the fields that it shares with the status body."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from app.core.accounts.api_keys import KeyStore
from tests.support.bodies import slow, small
from tests.support.servers import Server, a_key, running_api
from tests.support.sse import all_events, events
from tests.support.wire import V2, finished, wait_for_end

MADE_UP = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def plain(server: Server) -> Iterator[httpx.Client]:
    """A client that reads streams as they come, so it is not watched."""
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=120) as client:
        yield client


def submitted(http: httpx.Client, body: dict[str, Any]) -> str:
    return str(http.post(V2, json=body).json()["request_id"])


def test_a_stream_reports_every_stage_of_a_request_and_ends(plain: httpx.Client) -> None:
    request_id = submitted(plain, small(samples=2))
    seen = all_events(plain, request_id)
    named = [event for event in seen if event.id]  # the others only say where it stands
    names = [event.name for event in named]
    assert names == ["queued", "started", *["step"] * 30, "completed"]
    steps = [event.data["progress"] for event in named if event.name == "step"]
    assert steps == [{"step": step, "steps": 30} for step in range(1, 31)]
    assert not any("preview" in event.data for event in seen)
    assert len({event.id for event in named}) == len(named)
    states = [event.data["status"] for event in seen]
    assert states == sorted(states, key=("QUEUED", "PROCESSING", "COMPLETED").index)
    assert seen[-1].data == plain.get(f"/v2/requests/{request_id}/status").json()


def test_steps_have_previews_if_requested(plain: httpx.Client) -> None:
    seen = all_events(plain, submitted(plain, small(preview=True)))
    previews = [event.data["preview"] for event in seen if event.name == "step"]
    assert len(previews) == 15
    for preview in previews:
        head, _, data = preview.partition(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.size == (16, 16)
    assert len(set(previews)) > 1
    assert not any("preview" in event.data for event in seen if event.name != "step")


def test_a_stream_of_an_ended_request_replays_its_events(plain: httpx.Client) -> None:
    request_id = finished(plain, small())["request_id"]
    seen = all_events(plain, request_id)
    assert [seen[0].name, seen[1].name, seen[-1].name] == ["queued", "started", "completed"]
    assert "queue_position" not in seen[0].data
    assert all_events(plain, request_id) == seen


def test_a_client_that_reconnects_gets_the_remaining_events(plain: httpx.Client) -> None:
    request_id = submitted(plain, slow(2))
    first = []
    with events(plain, request_id) as stream:
        for event in stream:
            first += [event.id] * bool(event.id)
            if event.name == "step":
                break
    rest = [event.id for event in all_events(plain, request_id, first[-1]) if event.id]
    whole = [event.id for event in all_events(plain, request_id)]
    assert first + rest == whole
    assert len(rest) > 100
    over = plain.get(f"/v2/requests/{request_id}/events", headers={"last-event-id": whole[-1]})
    assert (over.status_code, over.content) == (204, b"")


def test_a_failure_ends_the_stream_with_its_reason(plain: httpx.Client) -> None:
    request_id = submitted(plain, small(image="bm90IGEgcGljdHVyZQ=="))
    last = all_events(plain, request_id)[-1]
    assert last.name == "failed"
    assert last.data == plain.get(f"/v2/requests/{request_id}/status").json()
    assert last.data["error"].startswith("image: ")


def test_a_queued_request_says_where_it_stands(plain: httpx.Client) -> None:
    """In the status, the result before the end, and the stream, at each move again."""
    finished(plain, small())  # so that something is measured
    first, second = submitted(plain, slow(4)), submitted(plain, small())
    queued = plain.get(f"/v2/requests/{second}/status").json()
    assert queued["status"] == "QUEUED"
    assert queued["queue_position"] in (1, 2)
    assert queued["eta_seconds"] > 0
    assert "queue_position" in plain.get(f"/v2/requests/{second}").json()
    seen = all_events(plain, second)
    positions = [event.data["queue_position"] for event in seen if event.name == "queued"]
    assert set(positions) <= {1, 2}
    assert positions[-1] == 1
    left = [event.data["eta_seconds"] for event in seen if event.name == "step"]
    assert left[0] > left[-1] >= 0
    done = wait_for_end(plain, f"/v2/requests/{first}/status").json()
    assert not {"queue_position", "eta_seconds", "progress"} & set(done)


@pytest.mark.parametrize("after", ["x", "1", "1-", "-1", "1-1-1", "9" * 19 + "-0", "1-1 1"])
def test_an_id_of_no_event_is_400(http: httpx.Client, after: str) -> None:
    url = f"/v2/requests/{submitted(http, small())}"
    answer = http.get(f"{url}/events", headers={"last-event-id": after})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Last-Event-ID: ")
    wait_for_end(http, url)


def test_a_stream_is_its_owners(http: httpx.Client, server: Server) -> None:
    request_id = finished(http, small())["request_id"]
    url = f"/v2/requests/{request_id}/events"
    assert http.get(url, headers={"x-api-key": ""}).status_code == 401
    assert http.get(f"/v2/requests/{MADE_UP}/events").status_code == 404
    stranger = a_key(server.redis_url)
    with Redis.from_url(server.redis_url) as redis:
        KeyStore(redis).add(stranger, "stranger")
    answer = http.get(url, headers={"x-api-key": stranger})
    assert answer.status_code == 404
    assert answer.json() == {"error": f"Request {request_id} not found"}


def test_a_stream_outlives_the_time_for_a_body_and_ends_with_its_process(server: Server) -> None:
    """What a client takes at once is no body that it does not take; an end is no broken answer."""
    with httpx.Client(headers=server.headers, timeout=60) as client:
        with running_api(server.redis_url, BODY_TIMEOUT_S="0.2") as url:
            client.base_url = httpx.URL(url)
            request_id = submitted(client, slow(4))
            opened = ExitStack()
            stream = opened.enter_context(events(client, request_id))
            steps = (event.data["progress"]["step"] for event in stream if event.name == "step")
            assert any(step > 100 for step in steps)
        rest = list(stream)
        opened.close()
    assert all(event.name == "step" for event in rest)
    assert len(rest) < 200
    httpx.delete(f"{server.url}/v2/requests/{request_id}", headers=server.headers)

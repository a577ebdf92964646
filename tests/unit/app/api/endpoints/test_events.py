"""Event streams: comments between the events, and streams that end without a final event."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.api.deps import Services, make_services
from app.api.endpoints import events
from app.core.errors import Cancelled
from app.core.requests.events import BEGINNING, Event
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from tests.support.records import PARAMS, REQUEST_ID, SOURCE, completed, queued

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    """Two requests that wait."""
    made = RequestStore(redis, ttl_s=60)
    for request_id in (FIRST, SECOND):
        made.submit(request_id, "t", PARAMS, SOURCE, made.expiry())
    return made


TIMES = events._TICK_S, events._KEEP_ALIVE_S


def test_a_stream_looks_every_second_and_is_silent_for_15_at_most() -> None:
    assert TIMES == (1.0, 15.0)


@pytest.fixture(autouse=True)
def client_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_TICK_S", 0.01)
    monkeypatch.setattr("app.core.queueing.forecast._FRESH_S", 0.0)


async def stream(made: Services, record: RequestRecord) -> AsyncIterator[str]:
    chunks = events._chunks(made, events._EventStream(made, record, "http://test"), BEGINNING)
    assert await anext(chunks) == "retry: 1000\n\n"
    return chunks


def streamed_texts(
    url: str, store: RequestStore, then: Callable[[Services, str], object]
) -> list[str]:
    """All texts of the second request's stream; `then` is called after each one."""

    async def run() -> list[str]:
        made, texts = make_services(Settings(redis_url=url)), []
        try:
            record = store.get(SECOND)
            assert record is not None
            async for text in await stream(made, record):
                texts.append(text)
                await asyncio.to_thread(then, made, text)
        finally:
            await made.feed.aclose()
            await made.async_redis.aclose()
            made.redis.close()
        return texts

    return asyncio.run(run())


def nothing(_made: Services, _text: str) -> None:
    return


def data(text: str) -> dict[str, object]:
    return dict(json.loads(text.partition("data: ")[2]))


def test_an_event_of_a_queue_position_has_no_id(redis_server: str, store: RequestStore) -> None:
    def go_on(_made: Services, text: str) -> None:
        if data(text).get("queue_position") == 2:
            store.fail(FIRST, Cancelled())
        else:
            store.fail(SECOND, Cancelled())

    queued, moved, failed = streamed_texts(redis_server, store, go_on)
    assert queued.startswith("id: ")
    unknown = {"status": "QUEUED", "eta_seconds": None, "gpu_worker": "absent"}
    assert data(queued) == {**unknown, "queue_position": 2}
    assert moved.startswith("event: queued\n")
    assert data(moved) == {**unknown, "queue_position": 1}
    assert failed.startswith("id: ")
    assert data(failed)["error"] == "cancelled"


def test_a_silent_stream_is_kept_alive(
    redis_server: str, store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_KEEP_ALIVE_S", 0.05)

    def end(_made: Services, text: str) -> None:
        if text.startswith(":"):
            store.fail(SECOND, Cancelled())

    texts = streamed_texts(redis_server, store, end)
    kinds = "".join(text[0] for text in texts)
    assert re.fullmatch("i:+i", kinds), kinds


def test_a_process_that_shuts_down_ends_its_streams(redis_server: str, store: RequestStore) -> None:
    def leave(made: Services, _text: str) -> None:
        made.drain.leaving = True

    assert len(streamed_texts(redis_server, store, leave)) == 1


def test_a_request_that_expires_ends_its_stream(
    redis: Redis, redis_server: str, store: RequestStore
) -> None:
    redis.hset(f"req:{SECOND}", "expires_at", str(time.time() - 1))
    assert len(streamed_texts(redis_server, store, nothing)) == 1


def test_a_record_that_is_gone_ends_its_stream(redis_server: str, store: RequestStore) -> None:
    def expire(_made: Services, _text: str) -> None:
        store.claim(SECOND, Stage.GENERATE, "e")
        store._redis.delete(f"req:{SECOND}")

    assert len(streamed_texts(redis_server, store, expire)) == 1


@contextmanager
def failing_once(made: Services) -> Iterator[None]:
    read, failed = made.feed.read, []

    async def fail_once(request_id: str, after: str) -> list[Event]:
        if not failed:
            failed.append(after)
            raise RedisConnectionError("away")
        return await read(request_id, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.feed, "read", fail_once)
        yield


def test_redis_away_costs_no_event(redis_server: str, store: RequestStore) -> None:
    stack = []

    def end(made: Services, text: str) -> None:
        if not stack:
            stack.append(failing_once(made))
            stack[0].__enter__()
            store.claim(SECOND, Stage.GENERATE, "e")
        elif "started" in text:
            store.fail(SECOND, Cancelled())

    texts = streamed_texts(redis_server, store, end)
    stack[0].__exit__(None, None, None)
    assert [text.split("\n")[1] for text in texts] == [
        "event: queued",
        "event: started",
        "event: failed",
    ]


# ---- over HTTP


EVENTS = f"/v2/requests/{REQUEST_ID}/events"


def test_the_stream_of_a_request_that_has_ended_is_its_whole_life(
    api: TestClient, inside: Services
) -> None:
    completed(inside.requests)
    answer = api.get(EVENTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-store"
    retry, *said = answer.text.strip().split("\n\n")
    assert retry == "retry: 1000"
    ids, names, bodies = zip(*(one.split("\n") for one in said), strict=True)
    assert all(re.fullmatch(r"id: \d+-\d+", one) for one in ids)
    assert names == ("event: queued", "event: started", "event: completed")
    streamed_texts = [json.loads(body.removeprefix("data: ")) for body in bodies]
    assert streamed_texts[:2] == [{"status": "QUEUED"}, {"status": "PROCESSING"}]
    assert streamed_texts[2] == api.get(f"/v2/requests/{REQUEST_ID}/status").json()
    last = ids[-1].removeprefix("id: ")
    after = api.get(EVENTS, headers={"last-event-id": ids[0].removeprefix("id: ")})
    assert [line for line in after.text.split("\n") if line.startswith("id: ")] == [*ids[1:]]
    done = api.get(EVENTS, headers={"last-event-id": last})
    assert (done.status_code, done.content) == (204, b"")


@pytest.mark.parametrize(
    ("event_id", "taken"),
    [
        *(("0-0", True), ("9" * 18 + "-" + "9" * 18, True)),
        *(("9" * 19 + "-0", False), ("0-" + "9" * 19, False), ("0", False), ("-", False)),
        *(("1-1 ", True), ("a-1", False), ("1--1", False), ("$", False)),
    ],
)
def test_an_id_of_an_event_is_two_numbers_of_at_most_18_digits(
    api: TestClient, inside: Services, event_id: str, taken: bool
) -> None:
    completed(inside.requests)
    answer = api.get(EVENTS, headers={"last-event-id": event_id.strip()})
    assert answer.status_code in ((200, 204) if taken else (400,))
    if not taken:
        sentence = f'Last-Event-ID: "{event_id}" is not the id of an event'
        assert answer.json() == {"error": sentence}


def test_a_long_id_of_an_event_is_shown_in_short(api: TestClient, inside: Services) -> None:
    completed(inside.requests)
    answer = api.get(EVENTS, headers={"last-event-id": "x" * 61})
    assert answer.json()["error"] == f'Last-Event-ID: "{"x" * 60}" is not the id of an event'


def test_the_stream_of_another_is_404(api: TestClient, inside: Services) -> None:
    queued(inside.requests, owner="team-b")
    assert api.get(EVENTS).status_code == 404

"""The event feed: many subscribers share a connection and miss no event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.errors import GenerationFailed
from app.core.redis.connection import connect, connect_async
from app.core.requests import events as feed_module
from app.core.requests.events import BEGINNING, Event, EventFeed, Follower
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from tests.support.records import PARAMS, SOURCE
from tests.support.servers import running_redis

T = TypeVar("T")
PATIENCE_S = 60.0


def feeding(url: str, work: Callable[[EventFeed], Awaitable[T]]) -> T:
    """What `work` finds with a feed of its own."""

    async def run() -> T:
        client = connect_async(url)
        feed = EventFeed(client)
        try:
            return await work(feed)
        finally:
            await feed.aclose()
            await client.aclose()

    return asyncio.run(run())


async def to_the_end(follower: Follower) -> list[str]:
    """The names of all events, with the step of a step."""
    names: list[str] = []
    while not names or names[-1] not in ("completed", "failed"):
        events = await follower.next(PATIENCE_S)
        names += [event.fields.get("step", event.name) for event in events]
    return names


def a_life(store: RequestStore, request_id: str) -> None:
    store.claim(request_id, Stage.PREPARE, "e")
    store.advance(request_id, Stage.PREPARE, "e", StageResult())
    store.claim(request_id, Stage.GENERATE, "e")
    for step in (1, 2, 3):
        store.progress(request_id, "e", step, 3)
    store.advance(request_id, Stage.GENERATE, "e", StageResult())
    store.claim(request_id, Stage.FINISH, "e")
    store.complete(request_id, "e", FinishResult())


LIFE = ["queued", "started", "1", "2", "3", "completed"]


def test_every_subscriber_gets_all_events_over_few_connections(
    redis: Redis, redis_server: str
) -> None:
    store = RequestStore(redis, ttl_s=60)
    ids = [f"{number:032x}" for number in range(200)]
    for request_id in ids:
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
    most = 0

    async def follow(feed: EventFeed, request_id: str) -> list[str]:
        with feed.following(request_id) as follower:
            return await to_the_end(follower)

    async def all_at_once(feed: EventFeed) -> list[list[str]]:
        nonlocal most
        followers = [asyncio.create_task(follow(feed, each)) for each in ids]
        await asyncio.to_thread(lambda: [a_life(store, each) for each in ids])
        most = len(redis.client_list())
        return await asyncio.gather(*followers)

    before = len(redis.client_list())
    assert feeding(redis_server, all_at_once) == [LIFE] * 200
    assert most - before <= 2


def test_a_subscriber_resumes_after_its_last_event(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())
    a_life(store, "a")

    async def twice(feed: EventFeed) -> list[str]:
        with feed.following("a") as follower:
            third = (await follower.next(PATIENCE_S))[2]
        with feed.following("a", third.id) as follower:
            return await to_the_end(follower)

    assert feeding(redis_server, twice) == LIFE[3:]


def test_patience_ends(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())

    async def wait(feed: EventFeed) -> list[int]:
        with feed.following("a") as follower:
            return [len(await follower.next(0.01)) for _ in range(2)]

    assert feeding(redis_server, wait) == [1, 0]


def test_the_event_feed_survives_a_restart_of_redis(tmp_path: Path) -> None:
    async def restart(feed: EventFeed) -> list[str]:
        with feed.following("a") as follower:
            first = [event.name for event in await follower.next(PATIENCE_S)]
            rest = asyncio.create_task(to_the_end(follower))
            await asyncio.to_thread(another_redis)
            return first + await rest

    def another_redis() -> None:
        first.__exit__(None, None, None)
        second.__enter__()
        client = connect(url)
        RequestStore(client, ttl_s=60).fail("a", GenerationFailed())
        client.close()

    first, second = running_redis(tmp_path), running_redis(tmp_path)
    url = first.__enter__()
    client = connect(url)
    store = RequestStore(client, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())
    client.close()
    try:
        assert feeding(url, restart) == ["queued", "failed"]
    finally:
        second.__exit__(None, None, None)


def test_the_event_feed_ends_whenever_it_is_closed(redis_server: str) -> None:
    """Also while its connection is being made: a process that is stopped at that moment ends."""

    async def close_after(turns: int) -> None:
        client = connect_async(redis_server)
        feed = EventFeed(client)
        with feed.following("a" * 32):
            for _ in range(turns):
                await asyncio.sleep(0)  # let everything take a turn
        await asyncio.wait_for(feed.aclose(), PATIENCE_S)
        await client.aclose()

    async def close_at_all_moments() -> None:
        await asyncio.gather(*(close_after(turns) for turns in range(20)))

    asyncio.run(close_at_all_moments())


def test_a_subscriber_that_has_gone_is_removed(redis: Redis, redis_server: str) -> None:
    """One of two first, and then the other."""
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())

    async def leave(feed: EventFeed) -> list[int]:
        left = []
        with feed.following("a") as staying:
            with feed.following("a"):
                left.append(len(feed._followers["a"]))
            left.append(len(feed._followers["a"]))
            assert await staying.next(PATIENCE_S)
        return [*left, len(feed._followers)]

    assert feeding(redis_server, leave) == [2, 1, 0]


def test_an_event_has_its_name_its_place_and_its_fields(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())
    store.claim("a", Stage.GENERATE, "e")
    store.progress("a", "e", 1, 2, "data:,")

    async def read(feed: EventFeed) -> list[Event]:
        events = await feed.read("a", BEGINNING)
        assert await feed.read("a", events[-1].id) == []
        assert await feed.read("a", events[0].id) == events[1:]
        return events

    found = feeding(redis_server, read)
    ids = [event_id.decode() for event_id, _ in redis.xrange("req:a:events")]
    assert found == [
        Event(ids[0], "queued", {}),
        Event(ids[1], "started", {}),
        Event(ids[2], "step", {"step": "1", "steps": "2", "preview": "data:,"}),
    ]


@pytest.mark.parametrize(
    ("name", "last"),
    [("queued", False), ("started", False), ("step", False), ("completed", True), ("failed", True)],
)
def test_two_events_are_the_last(name: str, last: bool) -> None:
    assert Event("1-0", name, {}).last is last


def test_events_are_read_from_the_beginning_on_by_default() -> None:
    assert BEGINNING == "0-0"


SOON_S = 5.0
"""Much longer than Redis takes, and much shorter than the silences of the tests below."""


@pytest.fixture
def only_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers are not woken by a silence."""
    monkeypatch.setattr(feed_module, "MAX_BLOCK_S", 3600)


async def subscribed(redis: Redis, follower: Follower) -> None:
    """Return when the feed listens and the follower has heard of that, which wakes it once."""
    while redis.pubsub_numsub("requests:news") != [(b"requests:news", 1)]:
        await follower.next(0.01)
    while await follower.next(0.2):
        pass


def names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    """With one request, of which it is known that it is queued."""
    made = RequestStore(redis, ttl_s=60)
    made.submit("a", "t", PARAMS, SOURCE, made.expiry())
    return made


@pytest.mark.usefixtures("only_messages")
def test_an_event_wakes_the_followers_of_its_request(
    redis: Redis, redis_server: str, store: RequestStore
) -> None:
    async def wait(feed: EventFeed) -> list[str]:
        with feed.following("a") as follower:
            await subscribed(redis, follower)
            waiting = asyncio.create_task(follower.next(SOON_S))
            await asyncio.sleep(0)  # it waits
            await asyncio.to_thread(store.claim, "a", Stage.GENERATE, "e")
            return names(await waiting)

    assert feeding(redis_server, wait) == ["started"]


@pytest.mark.usefixtures("only_messages", "store")
def test_a_follower_that_comes_late_reads_what_there_is(redis: Redis, redis_server: str) -> None:
    """Nothing wakes it: the feed has listened for long."""

    async def come_late(feed: EventFeed) -> list[str]:
        with feed.following("b") as first:
            await subscribed(redis, first)
            with feed.following("a") as follower:
                return names(await follower.next(SOON_S))

    assert feeding(redis_server, come_late) == ["queued"]


@pytest.mark.usefixtures("only_messages", "store")
def test_events_that_could_not_be_read_are_read_next_time(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(_request_id: str, _after: str) -> list[Event]:
        raise RedisError("away")

    async def read(feed: EventFeed) -> list[str]:
        with feed.following("b") as first:
            await subscribed(redis, first)
            with feed.following("a") as follower:
                with monkeypatch.context() as away:
                    away.setattr(feed, "read", unreadable)
                    with pytest.raises(RedisError):
                        await follower.next(SOON_S)
                return names(await follower.next(SOON_S))

    assert feeding(redis_server, read) == ["queued"]


@pytest.mark.usefixtures("store")
def test_an_event_whose_message_was_lost_is_read_after_a_silence(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_BLOCK_S", 0.05)

    async def wait(feed: EventFeed) -> list[str]:
        with feed.following("a") as follower:
            assert names(await follower.next(SOON_S)) == ["queued"]
            redis.xadd("req:a:events", {"event": "started"})  # and nothing is published
            return names(await follower.next(SOON_S))

    assert feeding(redis_server, wait) == ["started"]


@pytest.mark.usefixtures("only_messages")
def test_a_feed_whose_connection_breaks_listens_again_after_a_second(
    redis: Redis,
    redis_server: str,
    store: RequestStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And leaves no connection behind."""
    slept: list[float] = []
    get_message, sleep = PubSub.get_message, asyncio.sleep
    breaks = iter([RedisError("broken")] * 3)

    async def break_off(listener: PubSub, **given: Any) -> Any:
        error = next(breaks, None)
        if error is not None:
            raise error
        return await get_message(listener, **given)

    async def not_at_all(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(PubSub, "get_message", break_off)

    async def follow(feed: EventFeed) -> tuple[list[str], int]:
        with feed.following("a") as follower:
            with monkeypatch.context() as patch:
                patch.setattr(asyncio, "sleep", not_at_all)
                while len(slept) < 3:
                    await sleep(0.01)
            await subscribed(redis, follower)
            waiting = asyncio.create_task(follower.next(SOON_S))
            await asyncio.to_thread(store.claim, "a", Stage.GENERATE, "e")
            return names(await waiting), len(redis.client_list("pubsub"))

    assert feeding(redis_server, follow) == (["started"], 1)
    assert slept == [1.0] * 3
    assert caplog.messages == ["events: broken"] * 3

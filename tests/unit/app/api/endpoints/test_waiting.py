"""v1's wait: long silences are no errors, and a record is read when something may have ended it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from fastapi import Request
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.api.deps import Services, make_services
from app.api.endpoints import waiting
from app.api.endpoints.waiting import wait_for_end
from app.core.errors import GenerationFailed
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from tests.support.records import PARAMS, SOURCE


def a_client_that_stays() -> Request:
    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    return Request({"type": "http"}, receive)  # type: ignore[arg-type]


@asynccontextmanager
async def services(url: str) -> AsyncIterator[Services]:
    made = make_services(Settings(redis_url=url, sync_timeout_s=60))
    try:
        yield made
    finally:
        await made.feed.aclose()
        await made.async_redis.aclose()
        made.redis.close()


@contextmanager
def counted(made: Services, first: Callable[[], object]) -> Iterator[list[str]]:
    """The ids that records are read of; `first` is called before the first of them."""
    read, reads = made.reader.record, []

    async def record(request_id: str) -> RequestRecord | None:
        if not reads:
            first()
        reads.append(request_id)
        return await read(request_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.reader, "record", record)
        yield reads


def test_silence_is_no_error(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole block passes without an event, and the library may not try a second time."""
    monkeypatch.setattr("app.core.redis.connection.RETRIES", 0)
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())

    async def wait() -> RequestRecord | None:
        async with services(redis_server) as made:
            with counted(made, lambda: store.fail("a", GenerationFailed())):
                return await wait_for_end(made, "a", a_client_that_stays())

    ended = asyncio.run(wait())
    assert ended is not None
    assert ended.status is Status.FAILED


def test_a_waiting_call_survives_an_outage_of_redis(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than the retries: the client would send the request again, and pay twice."""
    monkeypatch.setattr(waiting, "_PAUSE_S", 0.0)
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())
    away = iter([True, True])

    async def wait() -> RequestRecord | None:
        async with services(redis_server) as made:
            read = made.reader.record

            async def record(request_id: str) -> RequestRecord | None:
                if next(away, False):
                    raise RedisConnectionError("refused")
                return await read(request_id)

            monkeypatch.setattr(made.reader, "record", record)
            store.fail("a", GenerationFailed())
            return await wait_for_end(made, "a", a_client_that_stays())

    ended = asyncio.run(wait())
    assert ended is not None
    assert ended.status is Status.FAILED


def test_the_record_is_not_read_at_every_step(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "t", PARAMS, SOURCE, store.expiry())
    for stage in (Stage.PREPARE, Stage.GENERATE):
        store.claim("a", stage, "e")
        store.advance("a", stage, "e", StageResult())
    store.claim("a", Stage.FINISH, "e")

    def work() -> None:
        for step in range(75):
            store.progress("a", "e", step, 75)
        store.complete("a", "e", FinishResult())

    async def wait() -> list[str]:
        async with services(redis_server) as made:
            with counted(made, lambda: None) as reads:
                worker = asyncio.create_task(asyncio.to_thread(work))
                await wait_for_end(made, "a", a_client_that_stays())
                await worker
                return reads

    assert asyncio.run(wait()) == ["a"]

"""The reader of keys and records: many calls per round trip, each with its own result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest
from redis import Redis
from redis.exceptions import RedisError

from app.core.accounts.api_keys import KeyStore, Terms, mint
from app.core.redis import keys
from app.core.redis.connection import connect_async
from app.core.requests.reader import Reader
from app.core.requests.record import Status
from app.core.requests.store import RequestStore
from app.core.requests.types import GenerationParameters
from tests.support.records import PARAMS, SOURCE
from tests.support.servers import running_redis

T = TypeVar("T")


def reading(url: str, work: Callable[[Reader], Awaitable[T]]) -> T:
    """What `work` finds with a reader of its own."""

    async def run() -> T:
        client = connect_async(url)
        try:
            return await work(Reader(client))
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_a_key_is_known_until_it_is_revoked(redis: Redis, redis_server: str) -> None:
    store, secret = KeyStore(redis), mint()
    assert reading(redis_server, lambda reads: reads.key(secret)) is None
    key = store.add(secret, "team-ä")
    assert reading(redis_server, lambda reads: reads.key(secret)) == key
    store.revoke(key.id)
    assert reading(redis_server, lambda reads: reads.key(secret)) is None


def test_a_record_is_the_one_that_the_store_reads(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    prompt = 'a "quoted"\n\x00 / \\ \x7f prompt, ünïcode \U0001f600'
    params = GenerationParameters(prompt=prompt)
    store.submit("a", "team-ä", params, SOURCE, store.expiry())
    record = reading(redis_server, lambda reads: reads.record("a"))
    assert record == store.get("a")
    assert record is not None
    assert record.params == params
    assert reading(redis_server, lambda reads: reads.record("b")) is None


def test_a_rest_of_an_expired_record_is_none(redis: Redis, redis_server: str) -> None:
    redis.hset("req:a", "step", 3)
    assert reading(redis_server, lambda reads: reads.record("a")) is None


def test_calls_at_the_same_time_share_round_trips(redis: Redis, redis_server: str) -> None:
    store, keys = RequestStore(redis, ttl_s=60), KeyStore(redis)
    secrets = [mint() for _ in range(200)]
    for index, secret in enumerate(secrets):
        keys.add(secret, f"team-{index}")
        store.submit(str(index), f"team-{index}", PARAMS, SOURCE, store.expiry())

    async def all_at_once(reads: Reader) -> list[tuple[str, str]]:
        calls = (reads.key_and_record(secret, str(i)) for i, secret in enumerate(secrets))
        found = await asyncio.gather(*calls)
        return [(key.name, record.owner) for key, record in found if key and record]

    before = commands(redis)
    found = reading(redis_server, all_at_once)
    assert found == [(f"team-{index}", f"team-{index}") for index in range(200)]
    assert commands(redis) - before < 10


def commands(redis: Redis) -> int:
    """How many scripts this Redis has run."""
    stats = redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


def test_a_cancelled_read_does_not_disturb_the_others(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "team-a", PARAMS, SOURCE, store.expiry())

    async def one_of_two_leaves(reads: Reader) -> Status | None:
        leaving = asyncio.create_task(reads.record("a"))
        staying = asyncio.create_task(reads.record("a"))
        await asyncio.sleep(0)  # both have asked
        leaving.cancel()
        record = await staying
        return record.status if record else None

    assert reading(redis_server, one_of_two_leaves) is Status.QUEUED


def test_every_reader_gets_an_error_without_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.redis.connection.RETRIES", 1)
    with running_redis(tmp_path / "redis") as url:
        pass

    async def many(reads: Reader) -> list[object]:
        calls = (reads.record(str(index)) for index in range(200))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    errors = reading(url, many)
    assert len(errors) == 200
    assert all(isinstance(error, RedisError) for error in errors)


def test_an_expired_key_is_no_key(redis: Redis, redis_server: str) -> None:
    store = KeyStore(redis)
    secret, key = store.create("team-a", Terms(expires_at=time.time() + 60))
    assert reading(redis_server, lambda reads: reads.key(secret)) == key
    secret, _ = store.create("team-a", Terms(expires_at=time.time() - 0.001))
    assert reading(redis_server, lambda reads: reads.key(secret)) is None


def test_the_use_of_a_key_is_written_down_once_a_minute(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, key = KeyStore(redis).create("team-a", Terms())
    noted: list[bytes | None] = []

    async def poll(reads: Reader) -> None:
        for moment in (1000.0, 1001.0, 1059.0, 1060.0, 1061.0):
            monkeypatch.setattr("app.core.requests.reader.time.time", lambda moment=moment: moment)
            await asyncio.gather(*(reads.key(secret) for _ in range(3)), reads.key("SG_wrong"))
            noted.append(redis.hget(keys.API_KEYS_USED, key.id))

    reading(redis_server, poll)
    assert noted == [b"1000.0"] * 3 + [b"1060.0"] * 2
    assert redis.hkeys(keys.API_KEYS_USED) == [key.id.encode()]


def test_the_reader_counts_the_unfinished_requests(redis: Redis, redis_server: str) -> None:
    store = RequestStore(redis, ttl_s=60)
    for request_id in ("a", "b"):
        store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry())

    async def counted(reads: Reader) -> int:
        assert reads.unfinished == 0
        await reads.key("")
        return reads.unfinished

    assert reading(redis_server, counted) == 2


def test_the_cache_of_secrets_is_bounded(redis_server: str) -> None:
    """Secrets that are no keys count as well, and a client can make up as many as it likes."""

    async def many(reads: Reader) -> list[int]:
        sizes = []
        for number in range(10_001):
            reads._id_to_note(str(number), 1000.0)
            sizes.append(len(reads._noted))
        return sizes

    sizes = reading(redis_server, many)
    assert (max(sizes), sizes[-1]) == (10_000, 1)


@pytest.mark.parametrize(("moment", "known"), [(99.99, True), (100.0, False)])
def test_a_key_is_none_from_its_expiry_on(
    redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch, moment: float, known: bool
) -> None:
    secret, _ = KeyStore(redis).create("team-a", Terms(expires_at=100.0))
    monkeypatch.setattr("app.core.requests.reader.time", SimpleNamespace(time=lambda: moment))
    assert (reading(redis_server, lambda reads: reads.key(secret)) is not None) is known


def test_a_redis_without_memory_is_read_nevertheless(redis: Redis, redis_server: str) -> None:
    """Only the note that the key was used is lost."""
    secret, key = KeyStore(redis).create("team-a", Terms())
    redis.config_set("maxmemory", 1)
    try:
        assert reading(redis_server, lambda reads: reads.key(secret)) == key
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.exists("keys:used") == 0


def test_the_use_of_what_is_no_key_is_not_noted(redis: Redis, redis_server: str) -> None:
    assert reading(redis_server, lambda reads: reads.key(mint())) is None
    assert redis.keys() == []


def test_a_key_and_a_record_are_read_together(redis: Redis, redis_server: str) -> None:
    secret, key = KeyStore(redis).create("team-a", Terms())
    store = RequestStore(redis, ttl_s=60)
    store.submit("a", "team-b", PARAMS, SOURCE, store.expiry())

    async def both(reads: Reader) -> list[object]:
        return [
            await reads.key_and_record(secret, "a"),
            await reads.key_and_record(secret, "b"),
            await reads.key_and_record("SG_wrong", "a"),
        ]

    assert reading(redis_server, both) == [
        (key, store.get("a")),
        (key, None),
        (None, store.get("a")),
    ]

"""Admission: when the server refuses submissions, and its Retry-After."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as async_redis
from redis import Redis

from app.core.errors import Overloaded
from app.core.queueing.admission import Admission
from app.core.redis import keys
from app.core.redis.connection import connect_async
from app.core.settings import Settings

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.queueing.admission.time.time", lambda: NOW)


def refusal(url: str, unfinished: int, **settings: float) -> Overloaded | None:
    async def run() -> Overloaded | None:
        client = connect_async(url)
        try:
            await Admission(client, Settings(redis_url=url, **settings)).check(unfinished)
        except Overloaded as error:
            return error
        finally:
            await client.aclose()
        return None

    return asyncio.run(run())


def completed(redis: Redis, *seconds_ago: float) -> None:
    for ago in sorted(seconds_ago, reverse=True):
        redis.lpush(keys.COMPLETIONS, repr(NOW - ago))


def test_the_bound_is_on_those_that_have_not_ended(redis: Redis, redis_server: str) -> None:
    completed(redis, 1.5)
    assert refusal(redis_server, 4, max_queued=5) is None
    error = refusal(redis_server, 5, max_queued=5)
    assert error is not None
    assert error.status == 503
    assert error.text == (
        "The service is overloaded: 5 requests wait already. Please try again in 2 s"
    )


@pytest.mark.parametrize(
    ("ago", "excess", "seconds"),
    [
        ((), 1, "60"),  # nothing to go by
        ((0.5, 10, 20, 29.5), 1, "8"),  # one in 7.4 s
        ((0.5, 10, 20, 29.5), 10, "74"),
        ((0.0,), 1, "1"),
        ((500, 3000), 4, "3600"),  # by then all that wait now have expired
        ((-5.0,), 10, "1"),  # clocks that disagree
    ],
)
def test_the_time_to_wait_is_that_of_the_measured_rate(
    redis: Redis, redis_server: str, ago: tuple[float, ...], excess: int, seconds: str
) -> None:
    completed(redis, *ago)
    error = refusal(redis_server, 4 + excess, max_queued=5)
    assert error is not None
    assert error.headers["retry-after"] == seconds


def test_retry_after_is_at_most_the_lifetime_of_a_request(
    redis: Redis,  # noqa: ARG001  # empty
    redis_server: str,
) -> None:
    error = refusal(redis_server, 5, max_queued=5, request_ttl_s=30)
    assert error is not None
    assert error.headers["retry-after"] == "30"


class Memory(async_redis.Redis):
    """Says how much memory is in use, of 1000 bytes, and how often it was asked."""

    used, asked = 0, 0

    async def info(self, *_: object, **__: object) -> dict[str, int]:  # type: ignore[override]
        self.asked += 1
        return {"maxmemory": 1000, "used_memory": self.used}

    async def lrange(self, *_: object) -> list[bytes]:  # type: ignore[override]
        return []


@pytest.mark.parametrize(("used", "refused"), [(799, False), (800, True)])
def test_the_watermark_itself_is_too_much(used: int, refused: bool) -> None:
    memory = Memory()
    memory.used = used
    admission = Admission(memory, Settings())
    if refused:
        with pytest.raises(Overloaded, match="overloaded: its memory is nearly full"):
            asyncio.run(admission.check_memory())
    else:
        asyncio.run(admission.check_memory())


def test_the_memory_of_redis_is_read_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    admission, asked = Admission(memory, Settings()), []
    for moment in (5.0, 5.99, 6.0, 6.99, 7.5):
        monkeypatch.setattr(
            "app.core.queueing.admission.time.monotonic", lambda moment=moment: moment
        )
        asyncio.run(admission.check(0))
        asked.append(memory.asked)
    assert asked == [1, 1, 2, 2, 3]


def test_the_watermark_is_a_share_of_the_memory_that_redis_may_take(
    redis: Redis, redis_server: str
) -> None:
    assert refusal(redis_server, 0, memory_watermark=0.001) is None  # no bound, no watermark
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", used * 4)
    try:
        assert refusal(redis_server, 0, memory_watermark=0.9) is None
        error = refusal(redis_server, 0, memory_watermark=0.1)
    finally:
        redis.config_set("maxmemory", 0)
    assert error is not None
    assert "its memory is nearly full" in error.text
    assert error.headers == {"retry-after": "60"}

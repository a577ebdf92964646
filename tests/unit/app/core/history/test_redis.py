"""The history in Redis: its expiry, and the index of its queries."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from redis import Redis

from app.core.history import redis as module
from app.core.history.base import Query
from app.core.history.factory import open_history
from app.core.history.redis import RedisHistory
from app.core.redis.connection import connect
from tests.support.history_rows import a_row
from tests.support.servers import running_redis

DAYS = 30


@pytest.fixture
def history(redis: Redis) -> RedisHistory:
    return RedisHistory(redis, DAYS)


def everything(owner: str = "x") -> Query:
    return Query(owner, since=0, until=2**33)


def test_a_row_expires_thirty_days_after_its_request_and_the_index_after_its_last_row(
    history: RedisHistory, redis: Redis
) -> None:
    row = a_row("x", 0)
    history.write([row])
    expires_at = time.time() + cast(int, redis.ttl(f"history:row:{row.request_id}:0"))
    assert expires_at == pytest.approx(row.created_at + 30 * 86_400, abs=60)
    assert 30 * 86_400 - 60 <= cast(int, redis.ttl("history:of:x")) <= 30 * 86_400


@pytest.mark.parametrize(("older_s", "kept"), [(-1, 2), (0, 1)])
def test_writing_a_row_takes_out_of_the_index_what_is_too_old(
    history: RedisHistory,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    older_s: float,
    kept: int,
) -> None:
    first = a_row("x", 1)
    history.write([first])
    moment = first.created_at + 30 * 86_400 + older_s
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: moment))
    history.write([a_row("x", 2, created_at=moment)])
    assert redis.zcard("history:of:x") == kept


def test_the_index_has_all_queried_fields(history: RedisHistory, redis: Redis) -> None:
    row = a_row("x", 1)
    history.write([row])
    [(member, score)] = redis.zrange("history:of:x", 0, -1, withscores=True)
    assert member.decode() == f"{row.request_id}:0:COMPLETED:flux-controlnet:0.5"
    assert score == row.created_at


def test_a_row_that_has_expired_is_left_out_of_its_page(
    history: RedisHistory, redis: Redis
) -> None:
    rows = [a_row("x", number) for number in (1, 2)]
    history.write(rows)
    redis.delete(f"history:row:{rows[1].request_id}:0")
    assert history.page(everything()).rows == [rows[0]]


def test_a_page_of_nothing_is_empty(history: RedisHistory) -> None:
    page = history.page(everything("unknown"))
    assert (page.rows, page.total) == ([], 0)


def test_a_row_is_its_owners(history: RedisHistory, redis: Redis) -> None:
    row = a_row("x", 1)
    history.write([row])
    assert history.of_request("y", row.request_id) == []
    assert redis.keys("history:of:*") == [b"history:of:x"]


def test_the_history_survives_a_restart_of_redis(tmp_path: Path) -> None:
    row = a_row("x", 1)
    for started in range(2):
        with running_redis(tmp_path / "redis") as url:
            client = connect(url)
            history = open_history("", client, DAYS)
            if not started:
                history.write([row])
            assert history.of_request("x", row.request_id) == [row]
            client.close()

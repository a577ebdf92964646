"""The comparison of usage with records and ledger at the end of a scenario of scripts/chaos."""

from __future__ import annotations

import json
import time
from typing import cast

import pytest
from redis import Redis

from app.core.accounts.credits import to_amount
from app.core.errors import Cancelled, GenerationFailed
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import Account, RequestStore
from tests.support.records import output, prepared, queued
from tools.chaos.verdict import usage_faults

pytestmark = pytest.mark.tools


@pytest.fixture(autouse=True)
def _ended(redis: Redis) -> None:
    """Three requests, one of each outcome."""
    store = RequestStore(redis, 3600)
    ids = [queued(store, f"{number:032x}", account=Account("k", 1.0)) for number in range(3)]
    store.claim(ids[0], Stage.PREPARE, "e")
    store.charge(ids[0], "e", to_amount(5.5))
    store.advance(ids[0], Stage.PREPARE, "e", prepared())
    store.claim(ids[0], Stage.FINISH, "e")
    store.complete(ids[0], "e", FinishResult((output(),)))
    store.fail(ids[1], Cancelled())
    store.fail(ids[2], GenerationFailed("no"))


def test_sums_that_equal_records_and_ledger_are_no_fault(redis: Redis) -> None:
    assert usage_faults(redis, 0) == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("requests", "usage: requests is 4, and 3 in the records"),
        ("completed", "usage: completed is 2, and 1 in the records"),
        ("cancelled", "usage: cancelled is 2, and 1 in the records"),
        ("pictures", "usage: pictures is 2, and 1 in the records"),
    ],
)
def test_a_sum_that_is_not_that_of_the_records_is_named(
    redis: Redis, name: str, fault: str
) -> None:
    day = keys.usage(int(time.time()) // 86_400)
    sums = json.loads(cast(bytes, redis.hget(day, "k team-a")))
    redis.hset(day, "k team-a", json.dumps({**sums, name: str(int(sums[name]) + 1)}))
    assert usage_faults(redis, 0) == [fault]


def test_a_ledger_with_another_sum_is_named(redis: Redis) -> None:
    redis.hincrby("spent", "k", to_amount(1.0))
    assert usage_faults(redis, 0) == ["usage: credits are 5.5, and 6.5 in the ledger"]


def test_usage_that_was_lost_is_named(redis: Redis) -> None:
    redis.delete(*redis.keys("usage:*"))
    assert len(usage_faults(redis, 0)) == 8

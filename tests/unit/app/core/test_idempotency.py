"""What a key stands for, whoever asks in whatever order."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from app.core.idempotency import IdempotencyKeys, Use
from app.core.requests import KeyTaken, RequestStore

USE, OTHER = Use("body", "a" * 32), Use("another", "b" * 32)


@pytest.fixture
def keys(redis: Redis) -> IdempotencyKeys:
    return IdempotencyKeys(redis)


def accepted(redis: Redis, keys: IdempotencyKeys, use: Use) -> None:
    store = RequestStore(redis, 50)
    hold = keys.hold("t", "key", use)
    store.submit(use.request_id, "t", {}, {}, store.expiry(), hold=hold)


def take(keys: IdempotencyKeys, use: Use, owner: str = "t") -> Use | None:
    return keys.take(owner, "key", use, time.time() + 50)


def test_the_first_one_has_it(keys: IdempotencyKeys, redis: Redis) -> None:
    assert take(keys, USE) is None
    assert take(keys, OTHER) == USE
    assert take(keys, OTHER, owner="somebody else") is None
    accepted(redis, keys, USE)
    assert take(keys, OTHER) == Use(USE.digest, USE.request_id, settled=True)


def test_who_failed_gives_it_back(keys: IdempotencyKeys) -> None:
    take(keys, USE)
    keys.release("t", "key", OTHER)  # not its to give
    assert take(keys, OTHER) == USE
    keys.release("t", "key", USE)
    assert take(keys, OTHER) is None


def test_who_lost_it_changes_nothing(keys: IdempotencyKeys, redis: Redis) -> None:
    take(keys, USE)
    keys.release("t", "key", USE)
    take(keys, OTHER)
    with pytest.raises(KeyTaken):
        accepted(redis, keys, USE)
    assert take(keys, USE) == OTHER
    assert not RequestStore(redis, 50).unfinished()


def test_a_request_that_was_taken_back_gives_it_back(keys: IdempotencyKeys, redis: Redis) -> None:
    take(keys, USE)
    accepted(redis, keys, USE)
    keys.release("t", "key", USE)
    assert take(keys, OTHER) is None


def test_it_expires(keys: IdempotencyKeys, redis: Redis) -> None:
    take(keys, USE)
    accepted(redis, keys, USE)
    [name] = redis.keys("idempotency:*")
    assert 0 < redis.ttl(name) <= 50

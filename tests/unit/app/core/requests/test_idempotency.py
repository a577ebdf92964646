"""Idempotency keys: the request that a key stands for, with calls in every order."""

from __future__ import annotations

import re
import time

import pytest
from redis import Redis

from app.core.requests.idempotency import IdempotencyKeys, Use
from app.core.requests.store import IdempotencyKeyTaken, RequestStore
from tests.support.records import PARAMS, SOURCE

USE, OTHER = Use("body", "a" * 32), Use("another", "b" * 32)


@pytest.fixture
def keys(redis: Redis) -> IdempotencyKeys:
    return IdempotencyKeys(redis)


def accepted(redis: Redis, keys: IdempotencyKeys, use: Use) -> None:
    store = RequestStore(redis, 50)
    guard = keys.guard("t", "key", use)
    store.submit(use.request_id, "t", PARAMS, SOURCE, store.expiry(), guard=guard)


def take(keys: IdempotencyKeys, use: Use, owner: str = "t") -> Use | None:
    return keys.take(owner, "key", use, time.time() + 50)


def test_the_first_one_has_it(keys: IdempotencyKeys, redis: Redis) -> None:
    assert take(keys, USE) is None
    assert take(keys, OTHER) == USE
    assert take(keys, OTHER, owner="somebody else") is None
    accepted(redis, keys, USE)
    assert take(keys, OTHER) == Use(USE.digest, USE.request_id, settled=True)


def test_a_failed_call_releases_its_idempotency_key(keys: IdempotencyKeys) -> None:
    take(keys, USE)
    keys.release("t", "key", OTHER)  # not its to give
    assert take(keys, OTHER) == USE
    keys.release("t", "key", USE)
    assert take(keys, OTHER) is None


def test_a_call_that_lost_its_idempotency_key_changes_nothing(
    keys: IdempotencyKeys, redis: Redis
) -> None:
    take(keys, USE)
    keys.release("t", "key", USE)
    take(keys, OTHER)
    with pytest.raises(IdempotencyKeyTaken):
        accepted(redis, keys, USE)
    assert take(keys, USE) == OTHER
    assert not RequestStore(redis, 50).unfinished()


def test_a_request_that_was_taken_back_gives_it_back(keys: IdempotencyKeys, redis: Redis) -> None:
    take(keys, USE)
    accepted(redis, keys, USE)
    keys.release("t", "key", USE)
    assert take(keys, OTHER) is None


@pytest.mark.parametrize("settled", [False, True])
def test_a_key_expires_with_its_request_whether_its_user_lives_or_dies(
    keys: IdempotencyKeys, redis: Redis, settled: bool
) -> None:
    take(keys, USE)
    if settled:
        accepted(redis, keys, USE)
    [name] = redis.keys("idempotency:*")
    assert re.fullmatch(rb"idempotency:[0-9a-f]{64}", name)
    assert 48 <= redis.ttl(name) <= 50


def test_asking_for_a_key_does_not_prolong_it(keys: IdempotencyKeys, redis: Redis) -> None:
    take(keys, USE)
    assert keys.take("t", "key", OTHER, time.time() + 500) == USE
    [name] = redis.keys("idempotency:*")
    assert redis.ttl(name) <= 50


def test_a_key_is_that_of_one_owner(keys: IdempotencyKeys) -> None:
    """Wherever the name of the one ends and the key of the other begins."""
    assert keys.take("ab", "c", USE, time.time() + 50) is None
    assert keys.take("a", "bc", OTHER, time.time() + 50) is None
    keys.release("a", "bc", OTHER)
    assert keys.take("ab", "c", OTHER, time.time() + 50) == USE


@pytest.mark.parametrize("settled", [False, True])
def test_a_key_is_released_by_its_own_use_only(
    keys: IdempotencyKeys, redis: Redis, settled: bool
) -> None:
    take(keys, USE)
    if settled:
        accepted(redis, keys, USE)
    for other in (Use(USE.digest, OTHER.request_id), Use(OTHER.digest, USE.request_id)):
        keys.release("t", "key", other)
    assert len(redis.keys("idempotency:*")) == 1
    keys.release("t", "key", USE)
    assert redis.keys("idempotency:*") == []

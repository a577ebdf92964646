"""Stored JSON can be read by versions that know more fields and by versions that know fewer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import pytest
from redis import Redis

from app.core.accounts.api_keys import Key, KeyStore
from app.core.history.base import Query
from app.core.history.factory import open_history
from app.core.webhooks.deliveries import Attempt, Deliveries
from app.core.webhooks.message import Secret, WebhookSecrets
from tests.support.history_rows import a_row

ID = "e" * 32
LATER = {"a_later_field": 1}


def of_a_later_version(text: str | bytes) -> str:
    """The same JSON with one more field."""
    return json.dumps({**json.loads(text), **LATER})


def a_key(redis: Redis) -> Iterable[Any]:
    before = KeyStore(redis).add("SG_secret", "a")
    [(digest, text)] = redis.hgetall("keys").items()
    redis.hset("keys", digest, of_a_later_version(text))
    return [before], KeyStore(redis).all()


def a_row_of_the_history(redis: Redis) -> Iterable[Any]:
    history = open_history("", redis, 30)
    before = a_row("a", 1)
    history.write([before])
    [name] = redis.scan_iter("history:row:*")
    redis.set(name, of_a_later_version(redis.get(name)))
    query = Query("a", since=0, until=time.time() + 60)
    return [before], list(history.page(query).rows)


def an_attempt(redis: Redis) -> Iterable[Any]:
    deliveries = Deliveries(redis, (5.0,), 10.0)
    deliveries.create(ID, "a", "https://a.example/", "{}")
    before = Attempt(time.time())
    deliveries.begin(ID, before)
    redis.lset(f"webhook:{ID}:attempts", 0, of_a_later_version(json.dumps(asdict(before))))
    delivery = deliveries.get(ID)
    assert delivery is not None
    return [before], list(delivery.attempts)


def a_secret(redis: Redis) -> Iterable[Any]:
    secrets = WebhookSecrets(redis)
    before = secrets.rotate("a")
    [(owner, text)] = redis.hgetall("webhook:secrets").items()
    redis.hset("webhook:secrets", owner, of_a_later_version(text))
    return [before], [secrets.of("a")]


@pytest.mark.parametrize("stored", [a_key, a_row_of_the_history, an_attempt, a_secret])
def test_a_field_of_a_later_version_is_left_out(
    redis: Redis, stored: Callable[[Redis], tuple[list[Any], list[Any]]]
) -> None:
    before, after = stored(redis)
    assert after == before


def test_a_field_that_an_earlier_version_did_not_store_has_its_default(redis: Redis) -> None:
    redis.hset("keys", "d" * 64, '{"id": "k", "name": "a", "created_at": 1.0}')
    assert KeyStore(redis).all() == [Key(id="k", name="a", created_at=1.0)]
    redis.hset("webhook:secrets", "a", '{"current": "whsec_"}')
    assert WebhookSecrets(redis).of("a") == Secret("whsec_")

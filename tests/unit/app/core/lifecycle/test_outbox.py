"""The outbox: ending a request adds it atomically; it stays until every listener has it."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from app.core.errors import GenerationFailed
from app.core.lifecycle.outbox import Outbox
from app.core.redis import keys
from app.core.requests.record import Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from app.core.requests.types import Output, WebhookTarget
from tests.support.records import PARAMS, SOURCE

ID = "e" * 32


@pytest.fixture
def requests(redis: Redis) -> RequestStore:
    store = RequestStore(redis, 3600)
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    return store


@pytest.fixture
def outbox(redis: Redis) -> Outbox:
    return Outbox(redis)


def complete(requests: RequestStore) -> bool:
    for stage in (Stage.PREPARE, Stage.GENERATE):
        requests.claim(ID, stage, stage.name)
        requests.advance(ID, stage, stage.name, StageResult())
    requests.claim(ID, Stage.FINISH, "finish")
    return requests.complete(ID, "finish", FinishResult((Output("0.png"),)))


@pytest.mark.parametrize("good", [True, False])
def test_an_outbox_entry_is_complete_without_its_record(
    redis: Redis, requests: RequestStore, outbox: Outbox, good: bool
) -> None:
    assert outbox.ids() == []
    ended = complete(requests) if good else requests.fail(ID, GenerationFailed("no"))
    assert ended
    record = requests.get(ID)
    assert record is not None
    redis.delete(keys.request(ID))
    assert outbox.ids() == [ID]
    assert outbox.read([ID]) == [record]
    assert record.status is (Status.COMPLETED if good else Status.FAILED)


def test_an_ended_request_is_in_the_outbox_once_and_is_removed_for_good(
    requests: RequestStore, outbox: Outbox
) -> None:
    assert requests.fail(ID, GenerationFailed("no"))
    outbox.remove([ID])
    assert not requests.fail(ID, GenerationFailed("again"))
    assert len(outbox) == 0
    assert outbox.read([ID]) == []


def test_an_unreadable_outbox_entry_does_not_block_the_others(
    redis: Redis, requests: RequestStore, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    requests.fail(ID, GenerationFailed("no"))
    redis.hset(keys.OUTBOX, "f" * 32, json.dumps(["status", "COMPLETED"]))
    redis.hset(keys.OUTBOX, "0" * 32, "no JSON")
    whole = json.loads(str(redis.hget(keys.OUTBOX, ID), "utf-8"))
    redis.hset(keys.OUTBOX, "1" * 32, json.dumps([*whole, "webhook", "{}"]))
    assert [record.id for record in outbox.read(["0" * 32, ID, "1" * 32, "f" * 32])] == [ID]
    assert [line.split(":")[0] for line in caplog.messages] == [
        f"request {number * 32}" for number in "01f"
    ]


def test_a_webhook_is_in_the_record_but_not_in_what_the_model_sees(requests: RequestStore) -> None:
    hook = WebhookTarget("https://a.example/x", "https://b.example")
    other = "f" * 32
    requests.submit(other, "a", PARAMS, SOURCE, requests.expiry(), hook)
    record = requests.get(other)
    assert record is not None
    assert (record.webhook, record.params) == (hook, PARAMS)
    first = requests.get(ID)
    assert first is not None
    assert first.webhook is None


def test_an_owner_finds_its_own_that_have_not_ended(requests: RequestStore) -> None:
    for number, owner in enumerate(("a", "b", "a")):
        requests.submit(f"{number:032x}", owner, PARAMS, SOURCE, requests.expiry())
    requests.fail(ID, GenerationFailed("no"))
    ids = [record.id for record in requests.unfinished_of("a")]
    assert ids == [f"{2:032x}", f"{0:032x}"]

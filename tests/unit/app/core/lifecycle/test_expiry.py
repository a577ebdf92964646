"""Expiry: a request is ended before its record expires."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from app.core.accounts.credits import Ledger, to_amount
from app.core.lifecycle.background_jobs import BackgroundJobs
from app.core.lifecycle.expiry import fail_expiring
from app.core.lifecycle.outbox import Outbox
from app.core.queueing.jobs import CPU, Jobs, carried_by
from app.core.redis import keys
from app.core.requests.record import Stage, Status
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import Account, RequestStore
from app.core.storage.redis import RedisBlobs
from tests.support.records import PARAMS, SOURCE

OLD, YOUNG, DONE = "a" * 32, "b" * 32, "c" * 32
TTL_S = 3600


@pytest.fixture
def store(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> RequestStore:
    """A minute apart, and now ten seconds before the first ones expire."""
    made, jobs = RequestStore(redis, TTL_S), Jobs(redis, TTL_S)
    begin = time.time()
    Ledger(redis).open("k", 10)
    for after, request_id in ((0, OLD), (0, DONE), (60, YOUNG)):
        moment = begin + after
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        account = Account("k", price=1.0, reserved=to_amount(1))
        made.submit(request_id, "team", PARAMS, SOURCE, made.expiry(), account=account)
        jobs.enqueue(request_id, Stage.PREPARE)
    made.claim(DONE, Stage.FINISH, "e")
    made.complete(DONE, "e", FinishResult())
    monkeypatch.setattr(time, "time", lambda: begin + TTL_S - 10)
    return made


def end(redis: Redis, store: RequestStore) -> None:
    jobs = Jobs(redis, TTL_S)
    fail_expiring(store, jobs, RedisBlobs(redis), BackgroundJobs(redis, jobs))


def test_waiting_clients_get_the_expiry_of_their_request(redis: Redis, store: RequestStore) -> None:
    """FAILED, in the outbox for history and webhooks, its budget given back, its job gone."""
    end(redis, store)
    record = store.get(OLD)
    assert record is not None
    assert (record.status, record.error_status) == (Status.FAILED, 504)
    assert record.error.startswith("expired: ")
    assert OLD in Outbox(redis).ids()
    assert Ledger(redis).balances() == {"k": 8.0}  # of three that were reserved, one is back
    assert redis.hget(keys.COUNTERS, "ended|expired|Expired") == b"1"
    carried = filter(None, map(carried_by, Jobs(redis, TTL_S).queue(CPU).job_ids))
    assert (OLD, Stage.PREPARE) not in carried


def test_no_other_is_touched(redis: Redis, store: RequestStore) -> None:
    end(redis, store)
    young, done = store.get(YOUNG), store.get(DONE)
    assert young is not None
    assert done is not None
    assert (young.status, done.status) == (Status.QUEUED, Status.COMPLETED)


def test_a_longer_life_than_the_setting_has_now_is_lived(redis: Redis, store: RequestStore) -> None:
    """REQUEST_TTL_S was shortened: what was promised before holds."""
    end(redis, RequestStore(redis, 600))
    young = store.get(YOUNG)
    assert young is not None
    assert young.status is Status.QUEUED


def test_a_short_life_is_not_cut_to_nothing(redis: Redis) -> None:
    brief = RequestStore(redis, 8)
    brief.submit(OLD, "team", PARAMS, SOURCE, brief.expiry())
    assert brief.expiring() == []

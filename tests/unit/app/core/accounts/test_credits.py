"""The ledger: what is reserved is spent once or given back once, and no balance is below zero."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from app.core.accounts.api_keys import Terms
from app.core.accounts.credits import BILLION, Ledger, cost_of, to_amount, to_credits
from app.core.errors import GenerationFailed, InsufficientCredits, OutOfCredits
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import Account, RequestStore
from tests.support.records import PARAMS, SOURCE

KEY = "k" * 12


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis)


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100)


def submit(store: RequestStore, credits: float, key: str = KEY) -> str:
    request_id = uuid4().hex
    account = Account(key, price=1.0, reserved=to_amount(credits))
    store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry(), account=account)
    return request_id


def complete(store: RequestStore, request_id: str, credits: float) -> RequestRecord:
    """Carry a request to its end; `credits` is what it turns out to cost."""
    store.claim(request_id, Stage.PREPARE, "p")
    assert store.charge(request_id, "p", to_amount(credits))
    store.advance(request_id, Stage.PREPARE, "p", StageResult())
    store.claim(request_id, Stage.GENERATE, "g")
    store.advance(request_id, Stage.GENERATE, "g", StageResult())
    store.claim(request_id, Stage.FINISH, "f")
    assert store.complete(request_id, "f", FinishResult())
    record = store.get(request_id)
    assert record is not None
    return record


def test_amounts_are_exact() -> None:
    assert to_credits(to_amount(0.05859375)) == 0.05859375
    assert cost_of(20.0, 1.0) == 20 * BILLION
    assert cost_of(1 / 4096, 1e-6) == 1  # never free
    assert sum([to_amount(0.1)] * 10) == to_amount(1.0)


def test_credits_are_reserved_at_submission_and_spent_at_the_end(
    store: RequestStore, ledger: Ledger
) -> None:
    ledger.open(KEY, 50.0)
    made = submit(store, 20.0)
    assert ledger.balances() == {KEY: 30.0}
    assert ledger.spent() == {}
    record = complete(store, made, 20.0)
    assert (record.cost, record.remaining) == (20.0, 30.0)
    assert (ledger.balances(), ledger.spent()) == ({KEY: 30.0}, {KEY: 20.0})


@pytest.mark.parametrize("cost", [5.0, 20.0, 50.0])
def test_the_cost_is_settled_when_the_size_is_known(
    store: RequestStore, ledger: Ledger, cost: float
) -> None:
    ledger.open(KEY, 50.0)
    record = complete(store, submit(store, 20.0), cost)
    assert (record.cost, record.remaining) == (cost, 50.0 - cost)
    assert ledger.balances() == {KEY: 50.0 - cost}


def test_settling_twice_is_settling_once(store: RequestStore, ledger: Ledger) -> None:
    """As when a second worker prepares the request again."""
    ledger.open(KEY, 50.0)
    made = submit(store, 20.0)
    for execution in ("first", "second"):
        store.claim(made, Stage.PREPARE, execution)
        assert store.charge(made, execution, to_amount(30.0))
    assert not store.charge(made, "first", to_amount(40.0))
    assert ledger.balances() == {KEY: 20.0}


def test_a_request_that_costs_more_than_is_left_fails_and_its_credits_are_returned(
    store: RequestStore, ledger: Ledger
) -> None:
    ledger.open(KEY, 50.0)
    made, other = submit(store, 20.0), submit(store, 10.0)
    store.claim(made, Stage.PREPARE, "p")
    with pytest.raises(OutOfCredits) as refused:
        store.charge(made, "p", to_amount(41.0))
    assert refused.value.text == (
        "Insufficient credits. You have 40.0 credits, and this request needs 41.0"
    )
    assert (refused.value.status, refused.value.v1_status) == (422, 406)
    assert store.fail(made, refused.value, "p")
    assert ledger.balances() == {KEY: 40.0}
    complete(store, other, 10.0)


def test_the_credits_of_a_failed_request_are_returned_once(
    store: RequestStore, ledger: Ledger
) -> None:
    ledger.open(KEY, 50.0)
    made = submit(store, 20.0)
    for _ in range(3):
        store.fail(made, GenerationFailed())
    assert (ledger.balances(), ledger.spent()) == ({KEY: 50.0}, {})


def test_the_credits_of_a_request_that_was_not_accepted_are_returned(
    store: RequestStore, ledger: Ledger
) -> None:
    ledger.open(KEY, 50.0)
    made = submit(store, 20.0)
    for _ in range(2):
        store.forget(made)
    assert ledger.balances() == {KEY: 50.0}


def test_the_credits_of_an_expired_request_are_returned_once(
    store: RequestStore, ledger: Ledger, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.open(KEY, 50.0)
    gone, alive = submit(store, 20.0), submit(store, 5.0)
    ledger.give_back_expired()
    assert ledger.balances() == {KEY: 25.0}
    redis.delete(keys.request(gone))
    later = time.time() + 200
    monkeypatch.setattr("app.core.accounts.credits.time.time", lambda: later)
    for _ in range(2):
        ledger.give_back_expired()
        assert ledger.balances() == {KEY: 45.0}
    complete(store, alive, 5.0)
    assert redis.exists("reservations", "reservations:expiry") == 0


def test_fifty_at_once_on_a_budget_for_twenty(store: RequestStore, ledger: Ledger) -> None:
    ledger.open(KEY, 20 * 0.05859375)

    def attempt(_: int) -> str | None:
        try:
            return submit(store, 0.05859375)
        except InsufficientCredits:
            return None

    with ThreadPoolExecutor(50) as threads:
        made = [one for one in threads.map(attempt, range(50)) if one]
        assert len(made) == 20
        assert ledger.balances() == {KEY: 0.0}
        list(threads.map(lambda one: store.fail(one, GenerationFailed()), made[:10]))
        list(threads.map(lambda one: complete(store, one, 0.05859375), made[10:]))
    assert ledger.balances() == {KEY: 10 * 0.05859375}
    assert ledger.spent() == {KEY: 10 * 0.05859375}


def test_a_refusal_names_balance_and_need_and_leaves_nothing(
    store: RequestStore, ledger: Ledger, redis: Redis
) -> None:
    ledger.open(KEY, 5.5)
    before = set(redis.keys())
    with pytest.raises(InsufficientCredits, match=r"^Insufficient credits. You have 5.5 credits,"):
        submit(store, 20.0)
    assert set(redis.keys()) == before
    submit(store, 5.5)


def test_without_a_budget_nothing_is_reserved_but_all_is_counted(
    store: RequestStore, ledger: Ledger
) -> None:
    record = complete(store, submit(store, 20.0), 20.0)
    assert (record.cost, record.remaining) == (20.0, None)
    assert (ledger.balances(), ledger.spent()) == ({}, {KEY: 20.0})


def test_a_key_that_was_revoked_gets_nothing_back(store: RequestStore, ledger: Ledger) -> None:
    ledger.open(KEY, 50.0)
    made, other = submit(store, 20.0), submit(store, 20.0)
    ledger.close(KEY)
    store.fail(made, GenerationFailed())
    assert complete(store, other, 30.0).remaining is None
    assert ledger.balances() == {}


def test_a_budget_is_topped_up_where_there_is_one(ledger: Ledger) -> None:
    assert ledger.top_up(KEY, 5.0) is None
    ledger.open(KEY, 1.0)
    assert ledger.top_up(KEY, 0.25) == 1.25
    ledger.open(KEY, 9.0)
    assert ledger.balances() == {KEY: 1.25}


def test_a_top_up_that_is_sent_twice_counts_once(
    ledger: Ledger, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client library does when Redis stood still and the first answer never came."""
    ledger.open(KEY, 1.0)
    script = ledger._top_up

    def twice(**given: Any) -> Any:
        script(**given)
        return script(**given)

    monkeypatch.setattr(ledger, "_top_up", twice)
    assert ledger.top_up(KEY, 10.0) == 11.0
    assert ledger.top_up(KEY, 10.0) == 21.0
    assert [3598 <= redis.ttl(key) <= 3600 for key in redis.keys("topup:*")] == [True, True]


def test_no_work_costs_nothing(ledger: Ledger, store: RequestStore) -> None:
    """A control map alone, also for who has spent all."""
    ledger.open(KEY, 1.0)
    complete(store, submit(store, 1.0), 1.0)
    complete(store, submit(store, 0.0), to_credits(cost_of(0.0, 1.0)))
    assert ledger.balances() == {KEY: 0.0}
    assert ledger.spent() == {KEY: 1.0}


def test_a_budget_has_a_million_credits_at_most() -> None:
    assert Terms(credits=1_000_000).credits == 1_000_000
    with pytest.raises(ValueError, match="at most 1000000"):
        Terms(credits=1_000_000.5)


def test_a_key_that_is_closed_is_forgotten(store: RequestStore, ledger: Ledger) -> None:
    other = "o" * 12
    for key in (KEY, other):
        ledger.open(key, 50.0)
        complete(store, submit(store, 20.0, key), 20.0)
    ledger.close(KEY)
    assert (ledger.balances(), ledger.spent()) == ({other: 30.0}, {other: 20.0})


def test_a_request_from_before_the_budget_reports_no_remaining_credits(
    store: RequestStore, ledger: Ledger
) -> None:
    """Nothing was taken from it."""
    made = submit(store, 20.0)
    ledger.open(KEY, 50.0)
    assert complete(store, made, 20.0).remaining is None
    assert (ledger.balances(), ledger.spent()) == ({KEY: 50.0}, {KEY: 20.0})


def expired(redis: Redis, count: int) -> None:
    """Reservations of a billionth each, of requests whose records are gone."""
    ids = [f"{number:032x}" for number in range(count)]
    redis.hset("reservations", mapping=dict.fromkeys(ids, f"1 {KEY}"))
    redis.zadd("reservations:expiry", dict.fromkeys(ids, 1.0))


@pytest.mark.parametrize(("count", "rounds"), [(1, [1]), (999, [999]), (1000, [999, 1000])])
def test_nine_hundred_and_ninety_nine_reservations_are_given_back_at_a_time(
    ledger: Ledger, redis: Redis, count: int, rounds: list[int]
) -> None:
    ledger.open(KEY, 1.0)
    expired(redis, count)
    for given_back in rounds:
        ledger.give_back_expired()
        assert redis.hget("credits", KEY) == b"%d" % (BILLION + given_back)


@pytest.mark.parametrize(("passed_s", "given_back"), [(99.9, False), (100.0, True)])
def test_a_reservation_is_looked_at_when_its_request_has_expired(
    store: RequestStore,
    ledger: Ledger,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    passed_s: float,
    given_back: bool,
) -> None:
    ledger.open(KEY, 50.0)
    made = submit(store, 20.0)
    [(_, expires_at)] = redis.zrange("reservations:expiry", 0, -1, withscores=True)
    assert expires_at == float(redis.hget(keys.request(made), "expires_at"))
    redis.delete(keys.request(made))
    monkeypatch.setattr("app.core.accounts.credits.time.time", lambda: expires_at - 100 + passed_s)
    ledger.give_back_expired()
    assert ledger.balances() == {KEY: 50.0 if given_back else 30.0}

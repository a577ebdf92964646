"""The writes of each script besides the record: events, counters, outbox, unfinished requests.

test_store.py tests the record itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from redis import Redis

from app.core.accounts.credits import Ledger, to_amount
from app.core.errors import (
    Cancelled,
    Expired,
    ImageRejected,
    InsufficientCredits,
    OutOfCredits,
    RequestFailed,
)
from app.core.requests import store as requests_module
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import Account, IdempotencyGuard, IdempotencyKeyTaken, RequestStore
from app.core.requests.types import SavedWork
from tests.support.records import PARAMS, SOURCE, generated
from tests.support.redis_keys import dump

ID, OTHER = "a" * 32, "b" * 32
RECORD, EVENTS = f"req:{ID}", f"req:{ID}:events"


class Clock:
    """The time that the scripts get: seconds after a whole one."""

    def __init__(self) -> None:
        self.began = float(int(time.time()))
        self.passed_s = 0.0

    def time(self) -> float:
        return self.began + self.passed_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(requests_module, "time", made)
    return made


@pytest.fixture
def store(redis: Redis, clock: Clock) -> RequestStore:  # noqa: ARG001  # the time is the clock's
    return RequestStore(redis, ttl_s=100)


def submit(store: RequestStore, request_id: str = ID, **more: object) -> None:
    given = {"stage": Stage.FETCH, "account": Account("k"), **more}
    store.submit(request_id, "team-a", PARAMS, SOURCE, store.expiry(), **given)  # type: ignore[arg-type]


def carry(store: RequestStore, clock: Clock, *durations_s: float) -> None:
    """Through as many stages as there are durations, from FETCH on."""
    for stage, duration_s in zip(Stage, durations_s, strict=False):
        assert store.claim(ID, stage, f"e{stage}") == "claimed"
        clock.passed_s += duration_s
        if stage is Stage.FINISH:
            assert store.complete(ID, f"e{stage}", FinishResult())
        else:
            assert store.advance(ID, stage, f"e{stage}", generated(predicted_s=10.0))


def record(store: RequestStore) -> RequestRecord:
    found = store.get(ID)
    assert found is not None
    return found


def counters(redis: Redis) -> dict[str, str]:
    raw = cast(dict[bytes, bytes], redis.hgetall("metrics"))
    return {name.decode(): number.decode() for name, number in raw.items()}


def events(redis: Redis) -> list[str]:
    """Names of all events, each step with its number."""
    found = [fields for _, fields in redis.xrange(EVENTS)]
    return [(fields.get(b"step") or fields[b"event"]).decode() for fields in found]


def unfinished(redis: Redis) -> dict[str, float]:
    every = redis.zrange("requests:unfinished", 0, -1, withscores=True)
    return {one.decode(): score for one, score in every}


def in_outbox(redis: Redis, request_id: str = ID) -> dict[str, str]:
    """The record as it is in the outbox."""
    flat = json.loads(cast(bytes, redis.hget("requests:ended", request_id)))
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_a_whole_life_is_counted_stage_by_stage(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    clock.passed_s = 0.25
    carry(store, clock, 0.5, 2.0, 8.0, 0.125)
    assert counters(redis) == {
        "submitted": "1",
        "ended|completed|": "1",
        "stage|fetch|0.5": "1",
        "stage|fetch|sum": "0.5",
        "stage|prepare|2.5": "1",
        "stage|prepare|sum": "2",
        "stage|queue|5": "1",
        "stage|queue|sum": "2.75",
        "stage|generate|10": "1",
        "stage|generate|sum": "8",
        "stage|finish|0.25": "1",
        "stage|finish|sum": "0.125",
        "stage|total|20": "1",
        "stage|total|sum": "10.875",
        # 8.125 s passed from its start to its end, where 10 were predicted.
        "eta_error|2.5": "1",
        "eta_error|sum": "1.875",
    }


def test_a_request_that_took_longer_than_predicted_counts_as_far_off(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, 0.0, 0.0, 12.0, 0.5)
    assert counters(redis)["eta_error|sum"] == "2.5"


def test_clocks_that_disagree_count_as_no_time(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, -3.0)
    found = counters(redis)
    assert (found["stage|fetch|0.005"], found["stage|fetch|sum"]) == ("1", "0")


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (ImageRejected(), "ended|failed|ImageRejected"),
        (Cancelled(), "ended|cancelled|Cancelled"),
        (Expired(), "ended|expired|Expired"),
    ],
)
def test_an_end_is_counted_by_its_reason(
    store: RequestStore, redis: Redis, error: RequestFailed, counted: str
) -> None:
    submit(store)
    assert store.fail(ID, error)
    assert counters(redis) == {"submitted": "1", counted: "1"}


def test_steps_are_counted_once_and_again_after_a_crash(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, 0.0, 0.0)
    for execution, steps in (("killed", (1, 2, 2, 3)), ("next", (2, 3, 4))):
        store.claim(ID, Stage.GENERATE, execution)
        for step in steps:
            store.progress(ID, execution, step, 4)
    assert counters(redis)["steps"] == "5"  # three, and the third and the fourth of the second


@pytest.mark.parametrize("expired", [[ID], [ID, OTHER]])
def test_expired_requests_are_counted_once(
    store: RequestStore, redis: Redis, expired: list[str]
) -> None:
    for request_id in expired:
        submit(store, request_id)
        redis.delete(f"req:{request_id}")
    assert store.unfinished() == store.unfinished() == {}
    assert counters(redis)["ended|expired|"] == str(len(expired))
    assert unfinished(redis) == {}


def test_every_event_is_in_the_stream_in_its_order(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, 1.0, 1.0)
    for _ in range(2):
        store.claim(ID, Stage.GENERATE, "e2")
    store.progress(ID, "e2", 1, 2)
    store.progress(ID, "e2", 2, 2, "data:,")
    carry_on = store.advance(ID, Stage.GENERATE, "e2", StageResult())
    store.claim(ID, Stage.FINISH, "e3")
    assert carry_on
    assert store.complete(ID, "e3", FinishResult())
    assert events(redis) == ["queued", "started", "1", "2", "completed"]
    assert store.fail(ID, Cancelled()) is False
    assert events(redis)[-1] == "completed"


def test_a_failure_is_the_last_event(store: RequestStore, redis: Redis) -> None:
    submit(store)
    store.fail(ID, Cancelled())
    assert events(redis) == ["queued", "failed"]


def test_a_stream_holds_some_five_hundred_events(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    """Redis cuts it where a block of its own ends."""
    submit(store)
    carry(store, clock, 0.0, 0.0)
    store.claim(ID, Stage.GENERATE, "e")
    for step in range(1, 801):
        store.progress(ID, "e", step, 800)
    assert 500 <= redis.xlen(EVENTS) <= 600
    assert events(redis)[-1] == "800"


def test_each_event_is_announced(store: RequestStore, redis: Redis) -> None:
    with redis.pubsub() as listener:
        listener.subscribe("requests:news")
        assert listener.get_message(timeout=10) is not None  # that it has subscribed
        submit(store)
        message = listener.get_message(timeout=10)
    assert message is not None
    assert message["data"] == ID.encode()


def test_the_moments_of_the_last_thirty_two_ends_are_kept_latest_first(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    for number in range(40):
        request_id = f"{number:032x}"
        submit(store, request_id)
        store.claim(request_id, Stage.FINISH, "e")
        clock.passed_s = float(number)
        assert store.complete(request_id, "e", FinishResult())
    submit(store)
    store.fail(ID, Cancelled())  # it says nothing about how fast requests are made
    moments = [float(one) - clock.began for one in redis.lrange("requests:pace", 0, -1)]
    assert moments == [float(number) for number in range(39, 7, -1)]


@pytest.mark.parametrize("gone", [RECORD, EVENTS])
def test_a_record_is_made_once(store: RequestStore, redis: Redis, gone: str) -> None:
    """What counts is the record, whatever else of it is there."""
    submit(store)
    redis.delete(gone)
    store.submit(ID, "team-b", PARAMS, SOURCE, store.expiry())
    assert record(store).owner == ("team-b" if gone == RECORD else "team-a")


GUARD = IdempotencyGuard("idempotency:x", "mine", "mine, settled")


def test_a_submission_settles_its_key_and_lets_it_expire_with_the_record(
    store: RequestStore, redis: Redis
) -> None:
    redis.set(GUARD.name, GUARD.expected)
    submit(store, guard=GUARD)
    assert redis.get(GUARD.name) == GUARD.settled.encode()
    assert 0 <= cast(int, redis.pttl(RECORD)) - cast(int, redis.pttl(GUARD.name)) + 5 <= 10


@pytest.mark.parametrize("holds", ["another's", None])
def test_a_submission_whose_key_was_taken_over_makes_nothing(
    store: RequestStore, redis: Redis, holds: str | None
) -> None:
    if holds is not None:
        redis.set(GUARD.name, holds)
    before = dump(redis)
    with pytest.raises(IdempotencyKeyTaken):
        submit(store, guard=GUARD)
    assert dump(redis) == before


def test_a_submission_that_is_too_dear_makes_nothing_and_settles_no_key(
    store: RequestStore, redis: Redis
) -> None:
    Ledger(redis).open("k", 1.0)
    redis.set(GUARD.name, GUARD.expected)
    before = dump(redis)
    with pytest.raises(InsufficientCredits, match="have 1.0 credits, and this request needs 2.0"):
        submit(store, guard=GUARD, account=Account("k", 1.0, to_amount(2.0)))
    assert dump(redis) == before


def test_unfinished_requests_stand_in_the_order_of_their_submission(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store, OTHER)
    clock.passed_s = 1.5
    submit(store)
    assert unfinished(redis) == {OTHER: clock.began, ID: clock.began + 1.5}
    assert list(store.unfinished()) == [OTHER, ID]


@pytest.mark.parametrize("way", ["completed", "failed", "forgotten"])
def test_a_request_that_has_ended_is_not_among_the_unfinished(
    store: RequestStore, clock: Clock, redis: Redis, way: str
) -> None:
    submit(store)
    submit(store, OTHER)
    if way == "completed":
        carry(store, clock, 0.0, 0.0, 0.0, 0.0)
    elif way == "failed":
        store.fail(ID, Cancelled())
    else:
        store.forget(ID)
    assert list(unfinished(redis)) == [OTHER]


def test_a_forgotten_request_leaves_only_the_count_of_its_submission(
    store: RequestStore, redis: Redis
) -> None:
    Ledger(redis).open("k", 5.0)
    before = set(redis.keys())
    submit(store, account=Account("k", 1.0, to_amount(2.0)))
    store.forget(ID)
    assert set(redis.keys()) - before == {b"metrics"}
    assert Ledger(redis).balances() == {"k": 5.0}


def test_a_request_that_completed_says_what_it_cost_and_what_is_left(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    ledger = Ledger(redis)
    ledger.open("k", 5.0)
    submit(store, account=Account("k", 1.0, to_amount(2.0)))
    store.claim(ID, Stage.FETCH, "e")
    store.charge(ID, "e", to_amount(1.5))
    carry(store, clock, 0.0, 0.0, 0.0, 0.0)
    assert (record(store).cost, record(store).remaining) == (1.5, 3.5)
    assert (ledger.balances(), ledger.spent()) == ({"k": 3.5}, {"k": 1.5})


def test_an_end_is_in_the_outbox_as_the_record_was_then(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, 1.0, 1.0, 1.0, 0.5)
    found = in_outbox(redis)
    assert found == {k.decode(): v.decode() for k, v in redis.hgetall(RECORD).items()}
    assert (found["status"], found["outputs"]) == ("COMPLETED", "[]")
    assert float(found["ended_at"]) - clock.began == 3.5
    assert float(found["started_at"]) - clock.began == 2.0


@contextmanager
def full(redis: Redis) -> Iterator[None]:
    """A Redis that has no room for anything new."""
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


@pytest.mark.parametrize("good", [True, False])
def test_a_request_ends_in_a_redis_that_is_full(
    store: RequestStore, redis: Redis, good: bool
) -> None:
    """Ends make room."""
    submit(store)
    store.claim(ID, Stage.FINISH, "e")
    with full(redis):
        assert store.complete(ID, "e", FinishResult()) if good else store.fail(ID, Cancelled())
    assert record(store).status is (Status.COMPLETED if good else Status.FAILED)


def test_only_the_first_start_counts(store: RequestStore, clock: Clock) -> None:
    submit(store)
    store.claim(ID, Stage.PREPARE, "e1")
    assert record(store).started_at is None
    clock.passed_s = 2.0
    store.claim(ID, Stage.GENERATE, "e2")
    clock.passed_s = 9.0
    store.claim(ID, Stage.GENERATE, "e3")
    found = record(store)
    assert (found.status, found.started_at) == (Status.PROCESSING, clock.began + 2.0)


def test_an_advance_is_repeated_by_its_own_execution_only(store: RequestStore) -> None:
    submit(store)
    store.claim(ID, Stage.FETCH, "e1")
    assert store.advance(ID, Stage.FETCH, "e1", StageResult())
    assert store.advance(ID, Stage.FETCH, "e1", StageResult())
    assert not store.advance(ID, Stage.FETCH, "e2", StageResult())
    assert not store.advance(ID, Stage.PREPARE, "e1", StageResult())
    assert store.fail(ID, Cancelled())
    assert not store.advance(ID, Stage.FETCH, "e1", StageResult())


def test_steps_of_another_division_are_rounded_down(
    store: RequestStore, clock: Clock, redis: Redis
) -> None:
    submit(store)
    carry(store, clock, 0.0, 0.0)
    store.claim(ID, Stage.GENERATE, "first")
    store.progress(ID, "first", 1, 3)
    store.claim(ID, Stage.GENERATE, "second")
    reached = []
    for step in range(1, 8):
        assert store.progress(ID, "second", step, 7)
        reached.append(record(store).step)
    assert reached == [1, 1, 1, 1, 2, 2, 3]
    assert events(redis) == ["queued", "started", "1", "2", "3"]


def test_only_the_execution_with_the_claim_writes_resume_state(store: RequestStore) -> None:
    submit(store)
    store.claim(ID, Stage.GENERATE, "stalled")
    assert store.keep(ID, "stalled", SavedWork("a"))
    store.claim(ID, Stage.GENERATE, "fresh")
    assert not store.keep(ID, "stalled", SavedWork("b"))
    assert record(store).saved_work == SavedWork("a")
    store.fail(ID, Cancelled())
    assert not store.keep(ID, "fresh", SavedWork("c"))
    store.forget(ID)
    assert not store.keep(ID, "fresh", SavedWork("d"))
    assert store.get(ID) is None


def test_only_the_execution_with_the_claim_settles_the_cost(
    store: RequestStore, redis: Redis
) -> None:
    Ledger(redis).open("k", 5.0)
    submit(store, account=Account("k", 1.0, to_amount(2.0)))
    assert record(store).key_id == "k"
    store.claim(ID, Stage.FETCH, "stalled")
    store.claim(ID, Stage.FETCH, "fresh")
    assert not store.charge(ID, "stalled", to_amount(1.0))
    assert record(store).cost == 0.0
    assert store.charge(ID, "fresh", to_amount(3.5))
    assert (record(store).cost, Ledger(redis).balances()) == (3.5, {"k": 1.5})
    with pytest.raises(OutOfCredits, match="You have 5.0 credits, and this request needs 5.5"):
        store.charge(ID, "fresh", to_amount(5.5))
    assert (record(store).cost, Ledger(redis).balances()) == (3.5, {"k": 1.5})
    store.fail(ID, Cancelled())
    assert not store.charge(ID, "fresh", to_amount(1.0))
    store.forget(ID)
    assert not store.charge(ID, "fresh", to_amount(1.0))
    assert store.get(ID) is None


@pytest.mark.parametrize(
    ("stage", "ends"), [(None, True), (Stage.PREPARE, True), (Stage.GENERATE, False)]
)
def test_a_stage_that_was_given_up_ends_its_request_while_it_is_the_open_one(
    store: RequestStore, clock: Clock, stage: Stage | None, ends: bool
) -> None:
    submit(store)
    carry(store, clock, 0.0)
    assert store.fail(ID, ImageRejected(), stage=stage) is ends
    assert record(store).status is (Status.FAILED if ends else Status.QUEUED)


def test_only_the_execution_that_claimed_last_ends_a_request(store: RequestStore) -> None:
    submit(store)
    store.claim(ID, Stage.FETCH, "stalled")
    store.claim(ID, Stage.FETCH, "fresh")
    assert not store.complete(ID, "stalled", FinishResult())
    assert not store.fail(ID, ImageRejected(), "stalled")
    assert store.fail(ID, ImageRejected(), "fresh")

"""The state machine of a request, in the orders that crashes and stalls produce."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from app.core.accounts.credits import Ledger
from app.core.errors import ImageRejected, TimedOut
from app.core.redis import keys
from app.core.requests import store as requests_module
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import (
    Account,
    Claim,
    IdempotencyGuard,
    IdempotencyKeyTaken,
    RequestStore,
)
from app.core.requests.types import GenerationParameters, Output, Source, WebhookTarget
from app.core.requests.work import ExpectedWork
from app.core.telemetry import tracing
from tests.support.records import PARAMS, SOURCE, generated, prepared

ID, OTHER = "0123456789abcdef0123456789abcdef", "b" * 32


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100)


@pytest.fixture
def submitted(store: RequestStore) -> RequestStore:
    store.submit(ID, "team-a", GenerationParameters(seed=5), Source(kind="file"), store.expiry())
    return store


def record(store: RequestStore) -> RequestRecord:
    found = store.get(ID)
    assert found is not None
    return found


def at_stage(store: RequestStore, stage: Stage) -> None:
    """Carry the request to the beginning of `stage`."""
    for earlier in (s for s in Stage if Stage.PREPARE <= s < stage):
        assert store.claim(ID, earlier, f"e{earlier}") is Claim.CLAIMED
        assert store.advance(ID, earlier, f"e{earlier}", StageResult())


def test_a_new_request_is_queued(submitted: RequestStore) -> None:
    found = record(submitted)
    assert found.status is Status.QUEUED
    assert (found.owner, found.params.seed, found.source.kind) == ("team-a", 5, "file")
    assert found.started_at is None


def test_an_id_is_used_once(submitted: RequestStore) -> None:
    submitted.submit(ID, "team-b", PARAMS, SOURCE, submitted.expiry())
    assert record(submitted).owner == "team-a"


def test_an_unknown_request_is_none(store: RequestStore) -> None:
    assert store.get("f" * 32) is None


def test_the_whole_life(submitted: RequestStore) -> None:
    assert submitted.claim(ID, Stage.PREPARE, "e1") is Claim.CLAIMED
    assert record(submitted).status is Status.QUEUED
    assert submitted.advance(ID, Stage.PREPARE, "e1", prepared(width=100, height=60))
    assert submitted.claim(ID, Stage.GENERATE, "e2") is Claim.CLAIMED
    assert record(submitted).status is Status.PROCESSING
    assert submitted.progress(ID, "e2", 3, 20)
    assert (record(submitted).step, record(submitted).steps) == (3, 20)
    assert submitted.advance(ID, Stage.GENERATE, "e2", generated(inference_s=1.5, evaluations=20))
    assert submitted.claim(ID, Stage.FINISH, "e3") is Claim.CLAIMED
    assert submitted.complete(ID, "e3", FinishResult((Output("0.png"),)))
    done = record(submitted)
    assert done.status is Status.COMPLETED
    assert done.outputs == (Output("0.png"),)
    assert (done.width, done.height, done.inference_s, done.evaluations) == (100, 60, 1.5, 20)
    assert done.created_at <= (done.started_at or 0) <= (done.ended_at or 0)


def test_a_later_claim_takes_the_request_from_an_earlier_one(submitted: RequestStore) -> None:
    at_stage(submitted, Stage.GENERATE)
    submitted.claim(ID, Stage.GENERATE, "stalled")
    submitted.claim(ID, Stage.GENERATE, "fresh")
    assert not submitted.progress(ID, "stalled", 9, 20)
    assert not submitted.advance(ID, Stage.GENERATE, "stalled", prepared(width=1))
    assert not submitted.fail(ID, TimedOut(), "stalled")
    assert submitted.advance(ID, Stage.GENERATE, "fresh", prepared(width=2))
    assert record(submitted).width == 2


def test_a_finished_stage_is_not_run_again(submitted: RequestStore) -> None:
    at_stage(submitted, Stage.FINISH)
    assert submitted.claim(ID, Stage.GENERATE, "late") is Claim.AHEAD
    assert submitted.claim(ID, Stage.PREPARE, "late") is Claim.AHEAD


def test_an_execution_that_advances_twice_changes_nothing(
    submitted: RequestStore,
) -> None:
    """The client library repeats a command whose answer never came."""
    submitted.claim(ID, Stage.PREPARE, "e1")
    assert submitted.advance(ID, Stage.PREPARE, "e1", StageResult())
    submitted.claim(ID, Stage.GENERATE, "e2")
    assert submitted.advance(ID, Stage.PREPARE, "e1", prepared(width=1))
    record = submitted.get(ID)
    assert record is not None
    assert (record.stage, record.width) == (Stage.GENERATE, None)
    assert submitted.advance(ID, Stage.GENERATE, "e2", StageResult())


def test_a_terminal_status_is_written_once(submitted: RequestStore) -> None:
    at_stage(submitted, Stage.FINISH)
    submitted.claim(ID, Stage.FINISH, "e3")
    assert submitted.fail(ID, ImageRejected("image: no"), "e3")
    assert not submitted.complete(ID, "e3", FinishResult())
    assert not submitted.fail(ID, TimedOut(), "")
    assert submitted.claim(ID, Stage.FINISH, "e4") is Claim.ENDED
    failed = record(submitted)
    assert (failed.status, failed.error, failed.error_status) == (Status.FAILED, "image: no", 400)


def test_no_sequence_of_calls_leaves_a_terminal_status(submitted: RequestStore) -> None:
    submitted.fail(ID, TimedOut("gone"), "")
    calls = [
        lambda: submitted.claim(ID, Stage.GENERATE, "e"),
        lambda: submitted.advance(ID, Stage.GENERATE, "e", StageResult()),
        lambda: submitted.progress(ID, "e", 1, 2),
        lambda: submitted.complete(ID, "e", FinishResult()),
    ]
    for order in itertools.permutations(calls):
        for call in order:
            call()
        assert record(submitted).status is Status.FAILED


def reported(redis: Redis) -> list[tuple[bytes, ...]]:
    """Every event of the request: its name, and for a step also the step and the total."""
    wanted = (b"event", b"step", b"steps", b"preview")
    events = [fields for _, fields in redis.xrange(keys.request_events(ID))]
    return [tuple(fields[name] for name in wanted if name in fields) for fields in events]


def test_progress_never_runs_backwards_after_a_crash(submitted: RequestStore, redis: Redis) -> None:
    at_stage(submitted, Stage.GENERATE)
    seen = []
    for execution, steps in (("killed", (1, 2, 3)), ("resumed", (2, 3, 4))):
        submitted.claim(ID, Stage.GENERATE, execution)
        seen.append(record(submitted).step)
        for step in steps:
            assert submitted.progress(ID, execution, step, 4, f"picture {step}")
            seen.append(record(submitted).step)
    assert seen == [0, 1, 2, 3, 3, 3, 3, 4]
    steps = [(b"step", b"%d" % n, b"4", b"picture %d" % n) for n in (1, 2, 3, 4)]
    assert reported(redis) == [(b"queued",), (b"started",), *steps]


def test_a_resumed_request_keeps_the_total_that_was_reported(
    submitted: RequestStore, redis: Redis
) -> None:
    """A gpu worker of another version may divide the work into other steps."""
    at_stage(submitted, Stage.GENERATE)
    submitted.claim(ID, Stage.GENERATE, "first")
    submitted.progress(ID, "first", 10, 20)
    submitted.claim(ID, Stage.GENERATE, "second")
    for step in range(1, 41):
        assert submitted.progress(ID, "second", step, 40)
    steps = [event[1:] for event in reported(redis) if event[0] == b"step"]
    assert steps == [(b"%d" % step, b"20") for step in range(10, 21)]
    assert (record(submitted).step, record(submitted).steps) == (20, 20)


def test_only_a_queued_request_is_cancelled_by_a_hang_up(submitted: RequestStore) -> None:
    at_stage(submitted, Stage.GENERATE)
    submitted.claim(ID, Stage.GENERATE, "e2")
    assert not submitted.fail(ID, TimedOut(), only_queued=True)
    assert record(submitted).status is Status.PROCESSING


def test_everything_expires_with_the_record(redis: Redis) -> None:
    store = RequestStore(redis, ttl_s=50)
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    at_stage(store, Stage.GENERATE)
    store.claim(ID, Stage.GENERATE, "e")
    store.progress(ID, "e", 1, 2)
    keys = list(redis.scan_iter("req:*"))
    assert len(keys) == 2
    assert all(0 < redis.ttl(key) <= 50 for key in keys)


def test_an_expired_record_is_never_written_again(redis: Redis) -> None:
    store = RequestStore(redis, ttl_s=50)
    store.submit(ID, "a", PARAMS, SOURCE, time.time() + 50)
    store.claim(ID, Stage.PREPARE, "e1")
    store.forget(ID)
    assert store.claim(ID, Stage.PREPARE, "e2") is Claim.GONE
    assert not store.advance(ID, Stage.PREPARE, "e1", prepared(width=1))
    assert not store.progress(ID, "e1", 1, 2)
    assert not store.complete(ID, "e1", FinishResult())
    assert not store.fail(ID, TimedOut())
    assert list(redis.scan_iter("req:*")) == []


class Clock:
    """What the store takes for the time: seconds after a whole one."""

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


def test_a_request_lives_for_its_seconds_from_a_whole_one_on(redis: Redis, clock: Clock) -> None:
    clock.passed_s = 0.75
    assert RequestStore(redis, ttl_s=100).expiry() == clock.began + 100


@pytest.mark.parametrize(
    ("ttl_s", "notice_s"), [(3600, 15.0), (60, 15.0), (56, 14.0), (40, 10.0), (8, 2.0)]
)
def test_a_request_is_to_be_ended_shortly_before_it_expires(
    redis: Redis, clock: Clock, ttl_s: int, notice_s: float
) -> None:
    """Fifteen seconds, and a quarter of a short life."""
    store = RequestStore(redis, ttl_s)
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    found = []
    for before_s in (notice_s + 0.01, notice_s, 0.0):
        clock.passed_s = ttl_s - before_s
        found.append(store.expiring())
    assert found == [[], [ID], [ID]]


@pytest.mark.parametrize(("took_s", "found"), [(5.0, [ID]), (5.5, [])])
def test_a_submission_may_take_five_seconds_from_its_expiry_to_its_record(
    redis: Redis, clock: Clock, took_s: float, found: list[str]
) -> None:
    """One that took longer is found as much later."""
    store = RequestStore(redis, 3600)
    expires_at = store.expiry()
    clock.passed_s = took_s
    store.submit(ID, "a", PARAMS, SOURCE, expires_at)
    clock.passed_s = 3600 - 15.0
    assert store.expiring() == found
    clock.passed_s += 0.5
    assert store.expiring() == [ID]


def test_an_ended_or_expired_request_cannot_be_ended(redis: Redis, clock: Clock) -> None:
    store = RequestStore(redis, 3600)
    for request_id in (ID, OTHER):
        store.submit(request_id, "a", PARAMS, SOURCE, store.expiry())
    clock.passed_s = 3599.0
    store.fail(ID, TimedOut())
    redis.delete(f"req:{OTHER}")
    assert store.expiring() == []


def test_an_owners_unfinished_requests_are_those_that_have_not_ended(
    store: RequestStore, redis: Redis
) -> None:
    """Also where one ends or expires between two looks."""
    for request_id, owner in ((ID, "a"), ("c" * 32, "b"), (OTHER, "a")):
        store.submit(request_id, owner, PARAMS, SOURCE, store.expiry())
    assert [record.id for record in store.unfinished_of("a")] == [OTHER, ID]
    assert [record.id for record in store.unfinished_of(None)] == [OTHER, "c" * 32, ID]
    store.fail(ID, TimedOut())
    redis.zadd("requests:unfinished", {ID: 1.0})
    redis.delete(f"req:{OTHER}")
    redis.hset(f"req:{OTHER}", "owner", "a")
    assert store.unfinished_of("a") == []


def test_a_request_without_an_account_charges_no_credits(store: RequestStore, redis: Redis) -> None:
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    found = record(store)
    assert (found.key_id, found.price, found.cost, found.webhook) == ("", 0.0, 0.0, None)
    assert redis.hget(f"req:{ID}", "concurrency") is None
    assert redis.exists("reservations", "") == 0


def test_the_record_has_the_fields_of_its_account(store: RequestStore, redis: Redis) -> None:
    account = Account("k", price=0.25, concurrency=3)
    Ledger(redis).open("k", 5.0)
    store.submit(
        ID, "a", PARAMS, SOURCE, store.expiry(), WebhookTarget("u"), account, stage=Stage.FETCH
    )
    found = record(store)
    assert (found.key_id, found.price, found.webhook) == ("k", 0.25, WebhookTarget("u"))
    assert found.stage is Stage.FETCH
    assert redis.hget(f"req:{ID}", "concurrency") == b"3"
    assert Ledger(redis).balances() == {"k": 5.0}  # nothing is reserved unless it is said


@pytest.fixture
def traced() -> Iterator[None]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    tracing.start("api", SimpleSpanProcessor(InMemorySpanExporter()))
    yield
    tracing.stop()


@pytest.mark.usefixtures("traced")
def test_a_record_says_to_which_trace_it_belongs(store: RequestStore, redis: Redis) -> None:
    with tracing.span("submit", f"00-{'1' * 32}-{'2' * 16}-01"):
        store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    found = redis.hget(f"req:{ID}", "traceparent")
    assert found is not None
    assert found.startswith(b"00-" + b"1" * 32)


def test_the_end_of_a_request_says_why_on_each_api(store: RequestStore, redis: Redis) -> None:
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry())
    assert store.fail(ID, ImageRejected("image: no"))
    fields = redis.hmget(f"req:{ID}", "status", "error", "error_status", "execution")
    assert fields == [b"FAILED", b"image: no", b"400", b""]


@pytest.mark.parametrize("holds", [None, "another's"])
def test_a_submission_whose_key_is_anothers_makes_no_record(
    store: RequestStore, redis: Redis, holds: str | None
) -> None:
    guard = IdempotencyGuard("idempotency:x", "mine", "settled")
    if holds is not None:
        redis.set(guard.name, holds)
    with pytest.raises(IdempotencyKeyTaken):
        store.submit(ID, "a", PARAMS, SOURCE, store.expiry(), guard=guard)
    assert store.get(ID) is None
    redis.set(guard.name, "mine")
    store.submit(ID, "a", PARAMS, SOURCE, store.expiry(), guard=guard)
    assert redis.get(guard.name) == b"settled"


def test_all_unfinished_requests_are_listed_with_their_stages(store: RequestStore) -> None:
    ids = [f"{number:032x}" for number in range(5)]
    for request_id in ids:
        store.submit(request_id, "a", PARAMS, SOURCE, store.expiry())
    store.claim(ids[3], Stage.PREPARE, "e")
    store.advance(ids[3], Stage.PREPARE, "e", StageResult())
    found = store.unfinished()
    assert list(found) == ids
    assert [request_id for request_id, stage in found.items() if stage != Stage.PREPARE] == [ids[3]]
    assert found[ids[3]] is Stage.GENERATE


def test_the_times_of_an_earlier_and_of_the_last_step_are_kept(
    submitted: RequestStore, clock: Clock
) -> None:
    """The earlier one is 8 to 15 steps before the last; of fewer steps it is the first."""
    at_stage(submitted, Stage.GENERATE)
    submitted.claim(ID, Stage.GENERATE, "e")
    assert record(submitted).step_times is None
    earlier = {}
    for step in range(1, 31):
        clock.passed_s = step / 4
        submitted.progress(ID, "e", step, 30)
        times = record(submitted).step_times
        assert times is not None
        assert (times.steps, times.step, times.at) == (30, step, clock.time())
        assert times.earlier_at == clock.began + times.earlier_step / 4
        earlier[step] = times.earlier_step
    assert [earlier[step] for step in (1, 2, 16, 17, 24, 25, 30)] == [1, 1, 1, 9, 9, 17, 17]


def test_each_execution_has_its_own_step_times(submitted: RequestStore) -> None:
    """After a crash the steps are done again, and the time between is no step time."""
    at_stage(submitted, Stage.GENERATE)
    for execution, steps in (("killed", (1, 2, 3)), ("resumed", (2, 3))):
        submitted.claim(ID, Stage.GENERATE, execution)
        for step in steps:
            submitted.progress(ID, execution, step, 4)
    times = record(submitted).step_times
    assert times is not None
    assert (times.earlier_step, times.step, record(submitted).step) == (2, 3, 3)
    submitted.progress(ID, "resumed", 1, 4)  # RQ does not do that; the times begin again
    times = record(submitted).step_times
    assert times is not None
    assert (times.earlier_step, times.step) == (1, 1)


def test_a_record_has_the_work_that_its_submission_expects(store: RequestStore) -> None:
    expected = ExpectedWork(work=20.0, load=21.5, profile="turbo")
    store.submit(ID, "team-a", PARAMS, SOURCE, store.expiry(), expected=expected)
    assert (record(store).expected, record(store).best_load) == (expected, 21.5)
    store.claim(ID, Stage.PREPARE, "e")
    store.advance(ID, Stage.PREPARE, "e", prepared(work=5.0, load=6.5))
    assert record(store).best_load == 6.5


def test_work_units_stand_for_the_load_in_a_record_of_an_older_version(
    submitted: RequestStore,
) -> None:
    assert (record(submitted).expected, record(submitted).best_load) == (None, None)
    submitted.claim(ID, Stage.PREPARE, "e")
    submitted.advance(ID, Stage.PREPARE, "e", prepared(work=5.0))
    assert record(submitted).best_load == 5.0

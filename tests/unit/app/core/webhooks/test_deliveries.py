"""The log of webhook deliveries: when the next attempt is due, and when there is none."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from app.core.redis.keys import DELIVERIES_DUE
from app.core.webhooks import deliveries as module
from app.core.webhooks.deliveries import Attempt, Deliveries, Delivery, State

ID = "d" * 32
PAUSES = (5.0, 300.0)
TIMEOUT_S = 10.0


def attempt(status: int | None) -> Attempt:
    return Attempt(time.time(), 0.1, status, None if status else "the receiver is away")


@pytest.fixture
def deliveries(redis: Redis) -> Deliveries:
    store = Deliveries(redis, PAUSES, TIMEOUT_S)
    assert store.create(ID, "a", "https://a.example/", "{}")
    return store


def read(deliveries: Deliveries) -> Delivery:
    found = deliveries.get(ID)
    assert found is not None
    return found


def settle(deliveries: Deliveries, status: int | None) -> State:
    before = read(deliveries)
    place = begin(deliveries)
    return deliveries.settle(before, place, attempt(status))


def begin(deliveries: Deliveries) -> int:
    place = deliveries.begin(ID, Attempt(time.time()))
    assert place is not None
    return place


def test_a_delivery_is_created_once_and_due_at_once(deliveries: Deliveries) -> None:
    assert not deliveries.create(ID, "b", "https://b.example/", "[]")
    assert read(deliveries).owner == "a"
    assert deliveries.due()
    assert deliveries.take(10) == [ID]


@pytest.mark.parametrize(("passed_s", "taken"), [(0, []), (14.99, []), (15, [ID])])
@pytest.mark.parametrize("begun", [False, True])
def test_a_claimed_delivery_is_due_again_after_its_timeout_and_five_seconds(
    deliveries: Deliveries,
    monkeypatch: pytest.MonkeyPatch,
    passed_s: float,
    taken: list[str],
    begun: bool,
) -> None:
    """A sender that is slow has begun its attempt, which renews the lease."""
    now = time.time()
    monkeypatch.setattr(module, "time", At(now))
    assert deliveries.take(10) == [ID]
    if begun:
        monkeypatch.setattr(module, "time", At(now + 7))
        begin(deliveries)
        passed_s += 7
    monkeypatch.setattr(module, "time", At(now + passed_s))
    assert deliveries.due() is bool(taken)
    assert deliveries.take(10) == taken


class At:
    """A clock that stands."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def time(self) -> float:
        return self._moment


def test_an_attempt_is_written_down_before_it_is_made(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(deliveries)
    lost = Attempt(time.time())
    places = {deliveries.begin(ID, lost) for _ in range(2)}  # the library repeats a lost call
    assert read(deliveries).attempts == (lost,)
    assert not lost.ended
    assert not deliveries.due()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 15.1)
    assert deliveries.take(10) == [ID]
    second = begin(deliveries)
    assert places == {1}
    assert second == 2
    made = attempt(500)
    deliveries.settle(before, second, made)
    found = read(deliveries)
    assert found.attempts == (lost, made)
    assert found.next_at == pytest.approx(now + 15.1 + 5.0, abs=2)


def test_attempts_whose_senders_died_use_up_no_pause(deliveries: Deliveries) -> None:
    for _ in range(5):
        begin(deliveries)
    assert settle(deliveries, 500) is State.PENDING
    begin(deliveries)
    assert settle(deliveries, 500) is State.PENDING
    assert settle(deliveries, 500) is State.GIVEN_UP
    assert deliveries.begin(ID, Attempt(time.time())) is None
    assert sum(made.ended for made in read(deliveries).attempts) == 3


def test_owners_take_turns(redis: Redis) -> None:
    """One whose receiver does not answer has hundreds due."""
    store = Deliveries(redis, PAUSES, TIMEOUT_S)
    for number in range(40):
        store.create(f"{number:032x}", "silent", "https://a.example/", "{}")
    store.create("f" * 32, "other", "https://b.example/", "{}")
    taken = store.take(4)
    assert "f" * 32 in taken
    assert [one for one in taken if one != "f" * 32] == [f"{number:032x}" for number in range(3)]


def test_an_attempt_that_is_reported_twice_is_stored_once(deliveries: Deliveries) -> None:
    once = attempt(None)
    before = read(deliveries)
    place = begin(deliveries)
    assert deliveries.settle(before, place, once) is deliveries.settle(before, place, once)
    assert len(read(deliveries).attempts) == 1


def test_at_most_the_requested_number_of_deliveries_is_claimed(deliveries: Deliveries) -> None:
    deliveries.create("e" * 32, "a", "https://a.example/", "{}")
    assert len(deliveries.take(1)) == len(deliveries.take(1)) == 1


@pytest.mark.parametrize("status", [None, 302, 404, 500])
def test_pauses_grow_and_then_it_is_given_up(deliveries: Deliveries, status: int | None) -> None:
    for pause in PAUSES:
        assert settle(deliveries, status) is State.PENDING
        due = read(deliveries).next_at
        assert due is not None
        assert due == pytest.approx(time.time() + pause, abs=pause / 2)
    assert settle(deliveries, status) is State.GIVEN_UP
    ended = read(deliveries)
    assert ended.state is State.GIVEN_UP
    assert ended.next_at is None
    assert [made.status for made in ended.attempts] == [status] * 3


@pytest.mark.parametrize(("status", "state"), [(204, State.DELIVERED), (410, State.GIVEN_UP)])
def test_an_answer_that_ends_it(deliveries: Deliveries, status: int, state: State) -> None:
    assert settle(deliveries, status) is state
    assert read(deliveries).state is state
    assert read(deliveries).next_at is None


def test_an_attempt_that_comes_late_reopens_nothing(deliveries: Deliveries) -> None:
    late, place = read(deliveries), begin(deliveries)
    settle(deliveries, 200)
    deliveries.settle(late, place, attempt(None))
    found = read(deliveries)
    assert found.state is State.DELIVERED
    assert found.next_at is None
    assert len(found.attempts) == 2


def test_a_delivery_whose_log_has_expired_is_removed(deliveries: Deliveries, redis: Redis) -> None:
    delivery, place = read(deliveries), begin(deliveries)
    redis.delete(f"webhook:{ID}")
    deliveries.settle(delivery, place, attempt(200))
    assert deliveries.get(ID) is None
    assert redis.zcard(DELIVERIES_DUE) == 0


def test_everything_of_it_expires_a_week_after_its_last_change(
    deliveries: Deliveries, redis: Redis
) -> None:
    """And the longest pause later: what waits for its next attempt is there."""
    kept_s = 7 * 86_400 + 300
    assert kept_s - 2 <= redis.ttl(f"webhook:{ID}") <= kept_s
    begin(deliveries)
    assert kept_s - 2 <= redis.ttl(f"webhook:{ID}:attempts") <= kept_s
    for key in redis.keys("webhook:*"):
        redis.expire(key, 100)
    settle(deliveries, 500)
    for key in (f"webhook:{ID}", f"webhook:{ID}:attempts"):
        assert kept_s - 2 <= redis.ttl(key) <= kept_s


def test_without_further_attempts_it_is_kept_for_a_week(redis: Redis) -> None:
    assert Deliveries(redis, (), TIMEOUT_S).create(ID, "a", "https://a.example/", "{}")
    assert 7 * 86_400 - 2 <= redis.ttl(f"webhook:{ID}") <= 7 * 86_400


def test_a_message_keeps_its_name(deliveries: Deliveries) -> None:
    assert read(deliveries).message_id == f"msg_{ID}"


@pytest.mark.parametrize(
    ("status", "delivered", "final"),
    [
        (None, False, False),
        (199, False, False),
        (200, True, False),
        (299, True, False),
        (300, False, False),
        (409, False, False),
        (410, False, True),
        (411, False, False),
    ],
)
def test_the_meaning_of_a_receivers_response(
    status: int | None, delivered: bool, final: bool
) -> None:
    made = attempt(status)
    assert (made.delivered, made.final) == (delivered, final)


def test_a_dropped_delivery_is_due_no_more(deliveries: Deliveries) -> None:
    deliveries.create("e" * 32, "a", "https://a.example/", "{}")
    deliveries.drop(ID)
    assert deliveries.take(10) == ["e" * 32]


def test_an_attempt_ends_in_its_own_place_of_the_log(deliveries: Deliveries) -> None:
    """That of a sender that was slow, after another one's."""
    before = read(deliveries)
    slow, fast = begin(deliveries), begin(deliveries)
    deliveries.settle(before, fast, attempt(500))
    deliveries.settle(before, slow, attempt(404))
    assert [made.status for made in read(deliveries).attempts] == [404, 500]


def test_an_attempt_whose_log_has_expired_brings_no_log_back(
    deliveries: Deliveries, redis: Redis
) -> None:
    before, place = read(deliveries), begin(deliveries)
    redis.delete(f"webhook:{ID}:attempts")
    deliveries.settle(before, place, attempt(200))
    assert (read(deliveries).state, read(deliveries).attempts) == (State.DELIVERED, ())


@pytest.mark.parametrize("state", ["delivered", "given_up"])
def test_a_finished_delivery_that_is_claimed_again_is_removed(
    deliveries: Deliveries, redis: Redis, state: str
) -> None:
    redis.hset(f"webhook:{ID}", "state", state)
    assert deliveries.begin(ID, Attempt(time.time())) is None
    assert redis.zcard("webhooks:due") == 0
    assert redis.exists(f"webhook:{ID}:attempts") == 0


def test_the_longest_waiting_deliveries_are_claimed_first(redis: Redis) -> None:
    store = Deliveries(redis, PAUSES, TIMEOUT_S)
    for number in (2, 0, 1):
        store.create(f"{number:032x}", "a", "https://a.example/", "{}")
        redis.zadd("webhooks:due", {f"{number:032x}": float(number)})
    assert [store.take(1) for _ in range(4)] == [[f"{n:032x}"] for n in range(3)] + [[]]


@pytest.mark.parametrize(("before", "taken"), [(2047, True), (2048, False)])
def test_the_turns_are_among_the_first_two_thousand_and_forty_eight(
    redis: Redis, before: int, taken: bool
) -> None:
    store = Deliveries(redis, PAUSES, TIMEOUT_S)
    redis.zadd("webhooks:due", {f"{number:032x}": 1.0 for number in range(before)})
    redis.hset(f"webhook:{ID}", "owner", "b")
    redis.zadd("webhooks:due", {ID: 2.0})
    assert (ID in store.take(2)) is taken

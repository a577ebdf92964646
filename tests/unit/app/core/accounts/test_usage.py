"""Usage: each request counts once, on the day of its end; sums merge over days and keys."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import Redis

from app.core.accounts import usage as module
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.accounts.credits import Ledger, to_amount, to_credits
from app.core.accounts.usage import (
    GROUPS,
    KEPT_DAYS,
    Usage,
    UsageRow,
    Window,
    columns,
    parse_groups,
    to_csv,
)
from app.core.errors import Cancelled, Expired, GenerationFailed, RequestFailed
from app.core.redis import keys
from app.core.requests import store as requests_module
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import Account, RequestStore
from app.core.requests.types import SavedWork
from tests.support.records import PARAMS, SOURCE, generated, output, prepared

DAY_S = 86_400
NOON = datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()
NOTHING: UsageRow = {
    "requests": 0,
    "completed": 0,
    "failed": 0,
    "cancelled": 0,
    "pictures": 0,
    "work_units": 0.0,
    "gpu_seconds": 0.0,
    "credits": 0.0,
    "queue_p50_s": None,
    "queue_p95_s": None,
}


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(requests_module, "time", made)
    monkeypatch.setattr(
        module,
        "datetime",
        SimpleNamespace(now=lambda zone: datetime.fromtimestamp(made.now, zone)),
    )
    return made


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100 * DAY_S * 365)


@pytest.fixture
def usage(redis: Redis) -> Usage:
    return Usage(redis)


class Requests:
    """Requests of a test, by number."""

    def __init__(self, store: RequestStore, clock: Clock) -> None:
        self._store, self._clock, self._count = store, clock, 0

    def submit(self, key: str = "k", owner: str = "team-a") -> str:
        self._count += 1
        request_id = f"{self._count:032x}"
        account = Account(key, 1.0, to_amount(5.5))
        self._store.submit(request_id, owner, PARAMS, SOURCE, self._store.expiry(), account=account)
        return request_id

    def start(self, request_id: str, queue_s: float = 0.0) -> None:
        """Until a gpu worker has it, `queue_s` after the submission."""
        self._store.claim(request_id, Stage.PREPARE, "p")
        self._store.charge(request_id, "p", to_amount(5.5))
        self._store.advance(request_id, Stage.PREPARE, "p", prepared())
        self._clock.now += queue_s
        self._store.claim(request_id, Stage.GENERATE, "g")

    def complete(
        self, key: str = "k", owner: str = "team-a", queue_s: float = 0.0, pictures: int = 1
    ) -> str:
        request_id = self.submit(key, owner)
        self.start(request_id, queue_s)
        self.finish(request_id, pictures)
        return request_id

    def finish(self, request_id: str, pictures: int = 1) -> None:
        self._store.advance(request_id, Stage.GENERATE, "g", generated())
        self._store.claim(request_id, Stage.FINISH, "f")
        outputs = tuple(output(index) for index in range(pictures))
        for _ in range(2):  # as redis-py does when the first answer was lost
            self._store.complete(request_id, "f", FinishResult(outputs))

    def fail(self, request_id: str, error: RequestFailed) -> None:
        for _ in range(2):
            self._store.fail(request_id, error)


@pytest.fixture
def requests(store: RequestStore, clock: Clock) -> Requests:
    return Requests(store, clock)


def window(days: int = 0) -> Window:
    """This day, and so many before and after it."""
    today = datetime.fromtimestamp(NOON, UTC).date()
    return Window(today - timedelta(days), today + timedelta(days))


def row(**changes: Any) -> UsageRow:
    return cast(UsageRow, {**NOTHING, **changes})


def test_a_completed_request_counts_with_all_that_it_used(usage: Usage, requests: Requests) -> None:
    requests.complete(pictures=2)
    [found] = usage.rows(window())
    assert found == row(
        owner="team-a",
        key="k",
        day="2026-11-15",
        requests=1,
        completed=1,
        pictures=2,
        work_units=5.5,
        gpu_seconds=13.5,
        credits=5.5,
        queue_p50_s=pytest.approx(0.01, rel=0.12),
        queue_p95_s=pytest.approx(0.01, rel=0.12),
    )
    assert list(found) == columns(GROUPS)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Cancelled(), "cancelled"), (Expired(), "failed"), (GenerationFailed("no"), "failed")],
)
def test_a_request_that_failed_counts_by_its_outcome_and_without_credits(
    usage: Usage, requests: Requests, error: RequestFailed, outcome: str
) -> None:
    requests.fail(requests.submit(), error)
    assert usage.rows(window(), ["key"]) == [row(key="k", requests=1, **{outcome: 1})]


def test_gpu_time_counts_for_a_request_that_ended_after_its_generation(
    usage: Usage, requests: Requests, store: RequestStore
) -> None:
    request_id = requests.submit()
    requests.start(request_id)
    store.advance(request_id, Stage.GENERATE, "g", generated())
    requests.fail(request_id, Cancelled())
    [found] = usage.rows(window(), ["key"])
    assert (found["gpu_seconds"], found["work_units"], found["pictures"]) == (13.5, 0.0, 0)


def test_saved_gpu_time_counts_for_a_request_that_ended_during_its_generation(
    usage: Usage, requests: Requests, store: RequestStore
) -> None:
    request_id = requests.submit()
    requests.start(request_id)
    store.keep(request_id, "g", SavedWork("a", seconds=10.25))
    requests.fail(request_id, Cancelled())
    assert usage.rows(window(), ["key"])[0]["gpu_seconds"] == 10.25


def test_a_request_counts_on_the_day_of_its_end_in_utc(
    usage: Usage, requests: Requests, clock: Clock
) -> None:
    request_id = requests.submit()
    for seconds in (DAY_S / 2 - 0.001, DAY_S / 2):
        clock.now = NOON + seconds
        requests.fail(request_id, Cancelled())
        request_id = requests.submit()
    found = usage.rows(window(1), ["day"])
    assert [(of["day"], of["requests"]) for of in found] == [("2026-11-15", 1), ("2026-11-16", 1)]


def test_groups_merge_what_is_not_asked_for(usage: Usage, requests: Requests, clock: Clock) -> None:
    requests.complete("k1")
    requests.complete("k2")
    clock.now += DAY_S
    requests.complete("k2")
    requests.complete("", owner="a b")  # without a key, and a name with a blank

    def counted(*groups: Any) -> list[tuple[object, ...]]:
        return [(*of.values(),)[: len(groups) + 1] for of in usage.rows(window(1), groups)]

    assert counted("owner") == [("a b", 1), ("team-a", 3)]
    assert counted("key") == [("", 1), ("k1", 1), ("k2", 2)]
    assert counted("day") == [("2026-11-15", 2), ("2026-11-16", 2)]
    assert counted(*GROUPS) == [
        ("a b", "", "2026-11-16", 1),
        ("team-a", "k1", "2026-11-15", 1),
        ("team-a", "k2", "2026-11-15", 1),
        ("team-a", "k2", "2026-11-16", 1),
    ]
    assert usage.rows(Window(date(2020, 1, 1), date(2020, 1, 2))) == []


def test_the_sums_of_a_revoked_key_stay_and_those_of_all_equal_the_ledger(
    usage: Usage, requests: Requests, redis: Redis
) -> None:
    store = KeyStore(redis)
    ids = [store.create("team-a", Terms(credits=100.0))[1].id for _ in range(2)]
    for key_id in (*ids, ids[0]):
        requests.complete(key_id)
    spent = Ledger(redis).spent()
    credits = {of["key"]: of["credits"] for of in usage.rows(window(), ["key"])}
    assert credits == spent == {ids[0]: 11.0, ids[1]: 5.5}
    for key_id in ids:
        store.revoke(key_id)
    assert Ledger(redis).spent() == {}
    [month] = usage.rows(Window.of(date(2026, 11, 1), date(2026, 11, 30)), ["owner"])
    assert (month["owner"], month["requests"], month["credits"]) == ("team-a", 3, 16.5)


def test_sums_are_exact_beyond_the_digits_of_cjson(
    usage: Usage, requests: Requests, redis: Redis
) -> None:
    name = keys.usage(int(NOON) // DAY_S)
    large = 2**53 - 10**11
    redis.hset(name, "k team-a", json.dumps({"credits": str(large), "of a later version": "7"}))
    requests.complete()
    stored = json.loads(cast(bytes, redis.hget(name, "k team-a")))
    assert int(stored["credits"]) == large + to_amount(5.5)
    assert stored["of a later version"] == "7"
    assert usage.rows(window(), ["key"])[0]["completed"] == 1


def test_a_sum_of_work_is_that_of_the_rounded_amounts(
    usage: Usage, requests: Requests, redis: Redis
) -> None:
    """Half a billionth is rounded to the even one, also where the sum is odd."""
    amounts = (1e-9, 0.2197265625)
    for work in amounts:
        request_id = requests.submit()
        requests.start(request_id)
        redis.hset(keys.request(request_id), "work", repr(work))
        requests.finish(request_id)
    assert usage.rows(window(), ["key"])[0]["work_units"] == to_credits(
        sum(map(to_amount, amounts))
    )


@pytest.mark.parametrize("seconds", [0.011, 0.3, 1.0, 7.7, 60.0, 3599.0, 1e5])
def test_a_queue_time_is_at_most_twelve_percent_off(
    usage: Usage, requests: Requests, seconds: float
) -> None:
    request_id = requests.submit()
    requests.start(request_id, seconds)
    requests.fail(request_id, GenerationFailed("no"))
    [found] = usage.rows(window(2), ["key"])
    reported = found["queue_p50_s"]
    assert reported is not None
    assert abs(math.log(reported / seconds)) <= math.log(1.12)


def test_percentiles_are_of_all_queue_times_of_a_group(
    usage: Usage, requests: Requests, clock: Clock
) -> None:
    for number in range(20):
        clock.now = NOON
        requests.complete(f"k{number % 2}", queue_s=100.0 if number == 19 else number / 10 + 0.1)
    [found] = usage.rows(window(), ["owner"])
    assert found["queue_p50_s"] == pytest.approx(1.0, rel=0.12)
    assert found["queue_p95_s"] == pytest.approx(1.9, rel=0.12)


def test_the_sums_of_a_day_expire(requests: Requests, redis: Redis) -> None:
    requests.complete()
    assert redis.ttl(keys.usage(int(NOON) // DAY_S)) == KEPT_DAYS * DAY_S


def test_a_request_whose_record_expired_counts_once_for_its_account(
    usage: Usage, requests: Requests, store: RequestStore, redis: Redis
) -> None:
    redis.delete(keys.request(requests.submit()))
    before = requests.submit()  # by a version without accounts
    redis.delete(keys.request(before), keys.usage_account(before))
    for _ in range(2):
        assert store.unfinished() == {}
    assert usage.rows(window(), ["owner", "key"]) == [
        row(owner="team-a", key="k", requests=1, failed=1)
    ]


def test_the_account_of_a_request_is_kept_until_it_ends(
    requests: Requests, store: RequestStore, redis: Redis
) -> None:
    request_id = requests.submit()
    name = keys.usage_account(request_id)
    ttls_s = [cast(int, redis.ttl(of)) for of in (keys.request(request_id), name)]
    assert ttls_s[1] - ttls_s[0] == pytest.approx(7 * DAY_S, abs=1)
    requests.fail(request_id, Cancelled())
    assert not redis.exists(name)
    forgotten = requests.submit()
    store.forget(forgotten)
    assert not redis.exists(keys.usage_account(forgotten))


def test_a_record_of_an_older_version_counts(
    usage: Usage, requests: Requests, redis: Redis
) -> None:
    request_id = requests.submit()
    redis.hdel(keys.request(request_id), "key", "price")
    redis.delete(keys.usage_account(request_id))
    requests.fail(request_id, Cancelled())
    assert usage.rows(window(), ["key"]) == [row(key="", requests=1, cancelled=1)]


def test_spending_by_month_begins_with_the_first_day_of_a_month(
    usage: Usage, requests: Requests, clock: Clock
) -> None:
    for day in (date(2026, 8, 31), date(2026, 9, 1), date(2026, 11, 14), date(2026, 11, 15)):
        clock.now = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        requests.complete()
    requests.fail(requests.submit("other"), Cancelled())
    assert usage.spent_by_month(3) == {"k": {"2026-09": 5.5, "2026-11": 11.0}}
    clock.now = datetime(2027, 1, 2, tzinfo=UTC).timestamp()
    assert usage.spent_by_month(3) == {"k": {"2026-11": 11.0}}
    assert usage.spent_by_month(1) == {}


def test_the_report_of_a_key_has_its_spending_by_month(requests: Requests, redis: Redis) -> None:
    store = KeyStore(redis)
    ids = [store.create("team-a", Terms())[1].id for _ in range(2)]
    requests.complete(ids[1])
    assert [dict(of.spent_by_month) for of in store.report()] == [{}, {"2026-11": 5.5}]


def test_a_window_ends_today_and_begins_with_its_month_by_default(clock: Clock) -> None:
    assert Window.of(None, None) == Window(date(2026, 11, 1), date(2026, 11, 15))
    assert Window.of(None, date(2026, 2, 3)) == Window(date(2026, 2, 1), date(2026, 2, 3))
    clock.now += 12 * 3600
    assert Window.of(date(2026, 11, 2), None) == Window(date(2026, 11, 2), date(2026, 11, 16))


def test_a_window_has_its_limits() -> None:
    last = date(2026, 11, 15)
    longest = Window(last - timedelta(KEPT_DAYS - 1), last)
    assert len(list(longest.days())) == KEPT_DAYS
    with pytest.raises(ValueError, match="^from: 2025-10-11 to 2026-11-15 are more than the 400"):
        Window(last - timedelta(KEPT_DAYS), last)
    with pytest.raises(ValueError, match="^from: 2026-11-16 is after to"):
        Window(date(2026, 11, 16), last)


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (["day"], ("day",)),
        (["day,owner"], ("owner", "day")),
        (["day", " key , owner"], GROUPS),
        (["day", "day"], ("day",)),
    ],
)
def test_groups_are_read_from_lists_and_repetitions(
    texts: list[str], groups: tuple[str, ...]
) -> None:
    assert parse_groups(texts) == groups


@pytest.mark.parametrize("texts", [[], [""], ["month"], ["day,"], ["owner", "Day"]])
def test_other_groups_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="^group_by: allowed are owner, key, day"):
        parse_groups(texts)


def test_csv_has_a_line_of_names_and_empty_fields(usage: Usage, requests: Requests) -> None:
    requests.fail(requests.submit(), Cancelled())
    text = to_csv(usage.rows(window(), ["owner"]), ["owner"])
    [read] = csv.DictReader(io.StringIO(text))
    assert read["owner"] == "team-a"
    assert (read["cancelled"], read["credits"], read["queue_p50_s"]) == ("1", "0.0", "")
    assert list(read) == columns(["owner"])
    assert to_csv([], ["day"]) == ",".join(columns(["day"])) + "\r\n"

"""The quota of waiting pictures per owner, in every order of ends, crashes and lost replies."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from redis import Redis

from app.core.errors import QuotaExceeded, RateLimited, TimedOut
from app.core.requests import sources as module
from app.core.requests.record import Stage
from app.core.requests.sources import Sources
from app.core.requests.stage_results import StageResult
from app.core.requests.store import RequestStore
from tests.support.records import PARAMS, SOURCE

QUOTA = 1000


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=100)


@pytest.fixture
def sources(redis: Redis) -> Sources:
    return Sources(redis, QUOTA)


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries are recounted at most once a second: here each call is a second later."""
    now = [time.time()]

    def later() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(time, "time", later)


def name(number: int) -> str:
    return f"{number:032x}"


def submit(sources: Sources, store: RequestStore, number: int, size: int = 400) -> None:
    expires_at = store.expiry()
    sources.hold("a", name(number), size, expires_at)
    store.submit(name(number), "a", PARAMS, SOURCE, expires_at)


def prepare(store: RequestStore, number: int) -> None:
    store.claim(name(number), Stage.PREPARE, "e")
    assert store.advance(name(number), Stage.PREPARE, "e", StageResult())


def held(redis: Redis) -> int:
    return int(redis.hget("sources:a", "total") or 0)


def test_more_than_an_owner_may_have_is_refused_until_one_is_prepared(
    sources: Sources, store: RequestStore
) -> None:
    submit(sources, store, 1)
    submit(sources, store, 2)
    with pytest.raises(RateLimited, match="would hold 1200 bytes.*at most 1000") as refused:
        submit(sources, store, 3)
    assert refused.value.status == 429
    assert refused.value.headers == {"retry-after": "5"}
    sources.hold("b", name(4), QUOTA, store.expiry())  # another owner's room is its own
    prepare(store, 1)
    submit(sources, store, 3)


def test_a_source_that_never_fits_is_refused_for_good(
    sources: Sources, store: RequestStore
) -> None:
    with pytest.raises(QuotaExceeded, match="1001 bytes; at most 1000"):
        submit(sources, store, 1, QUOTA + 1)


def test_every_way_on_frees_it_once(sources: Sources, store: RequestStore, redis: Redis) -> None:
    for number in range(3):
        submit(sources, store, number, 300)
    prepare(store, 0)
    assert store.advance(name(0), Stage.PREPARE, "e", StageResult())  # asked twice by the library
    assert held(redis) == 600
    store.fail(name(1), TimedOut())
    store.fail(name(1), TimedOut())
    assert held(redis) == 300
    store.forget(name(2))
    sources.release("a", name(2))
    sources.release("a", name(2))
    assert held(redis) == 0


def test_expired_or_lost_sources_do_not_count(
    sources: Sources, store: RequestStore, redis: Redis
) -> None:
    """Nobody freed these: their processes died, or their records expired without an end."""
    submit(sources, store, 1)
    submit(sources, store, 2)
    redis.delete(f"req:{name(1)}")
    redis.hset(f"req:{name(2)}", "stage", "2")
    for _ in range(60):
        sources.hold("a", name(9), 0, store.expiry())  # a minute passes
    submit(sources, store, 3, QUOTA)
    assert held(redis) == QUOTA


def test_a_picture_counts_before_its_record_is_made(sources: Sources, store: RequestStore) -> None:
    sources.hold("a", name(1), 600, store.expiry())
    sources.hold("a", name(1), 600, store.expiry())  # asked twice by the library
    with pytest.raises(RateLimited, match="would hold 1200 bytes"):
        sources.hold("a", name(2), 600, store.expiry())


def test_of_many_at_the_same_time_no_more_pass_than_fit(
    sources: Sources, store: RequestStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One moment for all: a thread that is slow must not find its picture forgotten.
    monkeypatch.setattr(time, "time", partial(float, 2e9))

    def hold(number: int) -> bool:
        try:
            submit(sources, store, number, 100)
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(hold, range(40))) == QUOTA // 100
    assert held(redis) == QUOTA


def test_all_sources_are_recounted_at_most_once_a_second(
    sources: Sources, store: RequestStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That looks at every record, so a client that comes too often must not make Redis do it."""
    monkeypatch.setattr(time, "time", partial(float, 2e9))
    submit(sources, store, 1, QUOTA)
    for _ in range(3):
        with pytest.raises(RateLimited):
            submit(sources, store, 2)
        redis.hset(f"req:{name(1)}", "stage", "2")
    monkeypatch.setattr(time, "time", partial(float, 2e9 + 1))
    submit(sources, store, 2)


def test_the_count_of_sources_expires_with_the_last_record(
    sources: Sources, store: RequestStore, redis: Redis
) -> None:
    submit(sources, store, 1)
    assert 0 < redis.ttl("sources:a") == redis.ttl(f"req:{name(1)}")


@pytest.mark.parametrize(("size", "fits"), [(600, True), (601, False)])
def test_the_quota_itself_is_allowed(
    sources: Sources, store: RequestStore, size: int, fits: bool
) -> None:
    submit(sources, store, 1, 400)
    if fits:
        submit(sources, store, 2, size)
        return
    with pytest.raises(RateLimited, match="would hold 1001 bytes") as refused:
        submit(sources, store, 2, size)
    assert refused.value.headers == {"retry-after": "5"}


def test_one_source_may_use_the_whole_budget(sources: Sources, store: RequestStore) -> None:
    submit(sources, store, 1, QUOTA)


@pytest.mark.parametrize(("waited_s", "counts"), [(59.0, True), (60.0, False)])
def test_a_picture_without_a_record_counts_for_a_minute(
    sources: Sources, redis: Redis, monkeypatch: pytest.MonkeyPatch, waited_s: float, counts: bool
) -> None:
    """Its submission may be under way; then its process has died."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 2e9))
    sources.hold("a", name(1), 600, 3e9)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 2e9 + waited_s))
    if counts:
        with pytest.raises(RateLimited):
            sources.hold("a", name(2), 600, 3e9)
    else:
        sources.hold("a", name(2), 600, 3e9)
        assert redis.hkeys("sources:a") == [b"total", b"counted_at", name(2).encode()]


@pytest.mark.parametrize(
    ("status", "stage", "counts"),
    [
        ("QUEUED", "1", True),
        ("QUEUED", "2", False),
        ("PROCESSING", "1", False),
        ("FAILED", "1", False),
    ],
)
def test_only_what_waits_to_be_prepared_counts(
    sources: Sources, store: RequestStore, redis: Redis, status: str, stage: str, counts: bool
) -> None:
    submit(sources, store, 1, 600)
    redis.hset(f"req:{name(1)}", mapping={"status": status, "stage": stage})
    if counts:
        with pytest.raises(RateLimited):
            submit(sources, store, 2, 600)
    else:
        submit(sources, store, 2, 600)
        assert held(redis) == 600


def test_a_released_source_is_no_longer_counted(
    sources: Sources, store: RequestStore, redis: Redis
) -> None:
    """While another one of the owner waits; with the last one the books go, too."""
    submit(sources, store, 1, 300)
    submit(sources, store, 2, 200)
    sources.release("a", name(1))
    assert redis.hkeys("sources:a") == [b"total", name(2).encode()]
    assert held(redis) == 200
    prepare(store, 2)
    assert redis.keys("sources:*") == []


@pytest.mark.parametrize("size", [0, 1])
def test_a_picture_of_hardly_any_bytes_is_in_the_books(
    sources: Sources, store: RequestStore, redis: Redis, size: int
) -> None:
    submit(sources, store, 1, size)
    assert redis.hget("sources:a", name(1)) is not None
    prepare(store, 1)
    assert redis.keys("sources:*") == []


def test_the_sum_of_an_owner_is_kept_down_to_the_last_byte(
    sources: Sources, store: RequestStore, redis: Redis
) -> None:
    submit(sources, store, 1, size=400)
    submit(sources, store, 2, size=1)
    prepare(store, 1)
    assert held(redis) == 1
    prepare(store, 2)
    assert redis.exists("sources:a") == 0


def test_pictures_count_while_another_one_of_the_request_is_downloaded(
    sources: Sources, store: RequestStore, redis: Redis
) -> None:
    expires_at = store.expiry()
    sources.hold("a", name(1), 600, expires_at, "controls")
    store.submit(name(1), "a", PARAMS, SOURCE, expires_at, stage=Stage.FETCH)
    with pytest.raises(RateLimited, match="would hold 1200 bytes"):
        sources.hold("a", name(2), 600, expires_at)
    store.claim(name(1), Stage.FETCH, "e")
    assert store.advance(name(1), Stage.FETCH, "e", StageResult())
    assert held(redis) == 600
    prepare(store, 1)
    assert held(redis) == 0


def test_the_parameter_of_pictures_that_never_fit_is_named(
    sources: Sources, store: RequestStore
) -> None:
    with pytest.raises(QuotaExceeded, match="^controls: 1001 bytes; at most 1000 may be sent"):
        sources.hold("a", name(1), 1001, store.expiry(), "controls")

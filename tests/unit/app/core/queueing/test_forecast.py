"""Places in the queue and times to the end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from app.core.errors import Cancelled
from app.core.queueing import forecast as forecast_module
from app.core.queueing.forecast import Forecast, Forecaster, Place, forecast_queue
from app.core.queueing.jobs import Jobs
from app.core.queueing.throughput import Throughput
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.store import Account, RequestStore
from tests.support.records import PARAMS, SOURCE, prepared

THROUGHPUT = Throughput({"exact": 0.5, "turbo": 0.1}, delivery_s=1.0, work=20.0)
IDS = [f"{number:032x}" for number in range(4)]


def test_times_add_up() -> None:
    waiting = [("a", "20", "exact"), ("b", "40", "turbo"), ("c", False, False)]
    forecast = forecast_queue(waiting, [("r", "20", "exact", "15", "20")], THROUGHPUT, workers=1)
    assert forecast.place("a") == Place(1, pytest.approx(2.5 + 10 + 1))
    assert forecast.place("b") == Place(2, pytest.approx(2.5 + 10 + 4 + 1))
    assert forecast.place("c") == Place(3, pytest.approx(2.5 + 14 + 10 + 1))
    assert forecast.place("too new to be seen") == Place(4, pytest.approx(2.5 + 24 + 10 + 1))


def test_workers_share_what_is_ahead() -> None:
    waiting = [("a", "20", "exact"), ("b", "20", "exact")]
    forecast = forecast_queue(waiting, [], THROUGHPUT, workers=2)
    assert forecast.place("b") == Place(2, pytest.approx(5 + 10 + 1))


@pytest.mark.parametrize(("throughput", "workers"), [(Throughput({}, 0, 0), 1), (THROUGHPUT, 0)])
def test_without_measurements_or_workers_there_is_no_time(
    throughput: Throughput, workers: int
) -> None:
    forecast = forecast_queue(
        [("a", "20", "exact")], [("r", "20", "exact", False, False)], throughput, workers
    )
    assert forecast.place("a") == Place(1, None)


def a_record(request_id: str = "a", **changes: Any) -> RequestRecord:
    given = {"status": Status.PROCESSING, "work": 40.0, "profile": "exact", **changes}
    return RequestRecord(
        request_id, "t", params=PARAMS, source=SOURCE, created_at=0, expires_at=9, **given
    )


@pytest.mark.parametrize(
    ("record", "eta_s"),
    [
        (a_record(), 0.5 * 40 + 1),
        (a_record(step=5, steps=20), 0.5 * 40 * 0.75 + 1),
        (a_record(step=5, steps=20, profile="turbo"), 0.1 * 40 * 0.75 + 1),
        (a_record(work=None), 0.5 * 20 + 1),
        (a_record(status=Status.QUEUED), 0.5 * 20 + 1),  # as the snapshot has it, not the record
        (a_record("late", status=Status.QUEUED), 0.5 * 20 + 0.5 * 20 + 1),
    ],
)
def test_the_time_of_a_request_is_that_of_what_is_left_of_it(
    record: RequestRecord, eta_s: float
) -> None:
    forecast = forecast_queue([("a", "20", "exact")], [], THROUGHPUT, workers=1)
    assert forecast.eta_s(record) == pytest.approx(eta_s)


@pytest.fixture
def jobs(redis: Redis) -> Jobs:
    return Jobs(redis, ttl_s=60)


@pytest.fixture
def store(redis: Redis, jobs: Jobs) -> RequestStore:
    """Four requests: the first is being made, the third was prepared before the second, the last
    is not prepared."""
    store = RequestStore(redis, ttl_s=60)
    for request_id in IDS:
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
        jobs.enqueue(request_id, Stage.PREPARE)
    for request_id in (IDS[0], IDS[2], IDS[1]):
        store.claim(request_id, Stage.PREPARE, "e")
        store.advance(request_id, Stage.PREPARE, "e", prepared(work=20.0, profile="exact"))
        jobs.enqueue(request_id, Stage.GENERATE)
    store.claim(IDS[0], Stage.GENERATE, "e")
    jobs.dequeue(IDS[0])
    return store


def positions(redis: Redis, jobs: Jobs) -> dict[str, int]:
    places = Forecaster(redis, jobs).refresh().places
    return {request_id: place.position for request_id, place in places.items()}


@pytest.mark.usefixtures("store")
def test_the_order_is_that_of_the_queue(redis: Redis, jobs: Jobs) -> None:
    assert positions(redis, jobs) == {IDS[2]: 1, IDS[1]: 2, IDS[3]: 3}


def test_an_unprepared_request_has_the_place_of_its_turn(
    redis: Redis, jobs: Jobs, store: RequestStore
) -> None:
    """Of a key that has nothing waiting: right behind what runs; then the keys take turns."""
    for number in range(10):  # of one key, prepared
        request_id = f"{number + 16:032x}"
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
        store.claim(request_id, Stage.PREPARE, "e")
        store.advance(request_id, Stage.PREPARE, "e", prepared(work=20.0, profile="exact"))
        jobs.enqueue(request_id, Stage.GENERATE)
    theirs = ["f" * 32, "e" * 32]  # of another, being fetched
    for request_id in theirs:
        store.submit(request_id, "u", PARAMS, SOURCE, store.expiry(), account=Account("u"))
        jobs.enqueue(request_id, Stage.PREPARE)
    forecast = positions(redis, jobs)
    assert [forecast[request_id] for request_id in theirs] == [1, 3]
    for request_id in theirs:
        store.claim(request_id, Stage.PREPARE, "e")
        store.advance(request_id, Stage.PREPARE, "e", prepared(work=20.0, profile="exact"))
        jobs.enqueue(request_id, Stage.GENERATE)
        assert positions(redis, jobs)[request_id] == forecast[request_id]


def test_an_ended_request_takes_no_place(redis: Redis, jobs: Jobs, store: RequestStore) -> None:
    store.fail(IDS[2], Cancelled())  # its job still stands in the queue
    assert positions(redis, jobs) == {IDS[1]: 1, IDS[3]: 2}


def test_concurrent_forecasts_share_one_snapshot(
    redis: Redis, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecasts, moment = Forecaster(redis, jobs), 100.0
    monkeypatch.setattr(forecast_module, "time", SimpleNamespace(monotonic=lambda: moment))

    async def ask() -> Forecast:
        first, *others = await asyncio.gather(*(forecasts.current() for _ in range(20)))
        assert all(other is first for other in others)
        return first

    first = asyncio.run(ask())
    moment = 100.49
    assert asyncio.run(ask()) is first
    moment = 100.5
    assert asyncio.run(ask()) is not first


def prepare(store: RequestStore, jobs: Jobs, request_id: str) -> None:
    store.claim(request_id, Stage.PREPARE, "e")
    store.advance(request_id, Stage.PREPARE, "e", prepared(work=20.0, profile="exact"))
    jobs.enqueue(request_id, Stage.GENERATE)


def test_a_key_that_comes_late_stands_behind_what_was_taken_before(
    redis: Redis, jobs: Jobs
) -> None:
    """As it will be placed when it is prepared: without credit for the time before."""
    store = RequestStore(redis, ttl_s=60)
    theirs, late = [f"{number:032x}" for number in range(5)], ["a" * 32, "b" * 32, "c" * 32]
    for request_id in theirs:
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
        prepare(store, jobs, request_id)
    for request_id in theirs[:3]:
        store.claim(request_id, Stage.GENERATE, "e")
        redis.lpop("rq:queue:gpu")
    for request_id in late:
        store.submit(request_id, "u", PARAMS, SOURCE, store.expiry(), account=Account("u"))
    forecast = positions(redis, jobs)
    order = [late[0], theirs[3], late[1], theirs[4], late[2]]
    assert sorted(forecast, key=lambda request_id: forecast[request_id]) == order
    for request_id in late:
        prepare(store, jobs, request_id)
    assert jobs.queue("gpu").job_ids == [f"{request_id}-generate" for request_id in order]


@pytest.mark.usefixtures("store")
def test_a_request_that_was_put_back_is_next_and_not_being_made(redis: Redis, jobs: Jobs) -> None:
    """Its worker died; it stays PROCESSING."""
    redis.lpush("rq:queue:gpu", f"{IDS[0]}-generate")
    forecast = Forecaster(redis, jobs).refresh()
    assert forecast.place(IDS[0]).position == 1
    assert positions(redis, jobs) == {IDS[0]: 1, IDS[2]: 2, IDS[1]: 3, IDS[3]: 4}


def test_a_request_of_which_no_step_is_known_has_all_before_it() -> None:
    for step, steps in (("5", False), (False, "20"), ("0", "20")):
        forecast = forecast_queue([], [("r", "20", "exact", step, steps)], THROUGHPUT, workers=1)
        assert forecast.last.eta_s == pytest.approx(10 + 10 + 1)


def test_estimates_use_the_work_the_profile_and_the_steps_of_every_request(
    redis: Redis, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.hset(keys.MEASURED, mapping={"unit_s:exact": 1, "unit_s:turbo": 0.1, "work": 50})
    monkeypatch.setattr(jobs, "workers", lambda _queue: 1)
    store = RequestStore(redis, ttl_s=60)
    for request_id, work, profile in (
        (IDS[0], 10.0, "exact"),
        (IDS[1], 20.0, "turbo"),
        (IDS[2], 40.0, "exact"),
    ):
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
        store.claim(request_id, Stage.PREPARE, "e")
        store.advance(request_id, Stage.PREPARE, "e", prepared(work=work, profile=profile))
        jobs.enqueue(request_id, Stage.GENERATE)
    store.claim(IDS[0], Stage.GENERATE, "e")
    store.progress(IDS[0], "e", 15, 20)
    jobs.dequeue(IDS[0])
    forecast = Forecaster(redis, jobs).refresh()
    etas = {request_id: place.eta_s for request_id, place in forecast.places.items()}
    # A quarter of 10 s is left of the first; then 2 s, 40 s, and 50 s for one of unknown work.
    assert etas == {IDS[1]: pytest.approx(4.5), IDS[2]: pytest.approx(44.5)}
    assert forecast.last.eta_s == pytest.approx(94.5)

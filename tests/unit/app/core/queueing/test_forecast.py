"""Places in the queue and times to the end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis import Redis
from rq.utils import now, utcformat

from app.core.errors import Cancelled
from app.core.queueing import forecast as forecast_module
from app.core.queueing.cost_model import CostModel
from app.core.queueing.forecast import Forecast, Forecaster, GpuWorkers, Place, forecast_queue
from app.core.queueing.jobs import Jobs
from app.core.queueing.startups import StartingWorker, Startup
from app.core.queueing.throughput import Throughput
from app.core.queueing.workers import LiveWorker, workers_key
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, Status, StepTimes
from app.core.requests.store import Account, RequestStore
from app.core.requests.work import ExpectedWork
from tests.support.records import PARAMS, SOURCE, prepared

THROUGHPUT = Throughput({"exact": 0.5, "turbo": 0.1}, delivery_s=1.0, work=20.0)
IDS = [f"{number:032x}" for number in range(4)]


def worker(device: str | None = None, job: str | None = None) -> LiveWorker:
    return LiveWorker("w", None, "demo", device, job)


def a_record(request_id: str = "a", **changes: Any) -> RequestRecord:
    given = {"status": Status.PROCESSING, "work": 40.0, "profile": "exact", **changes}
    given.setdefault("stage", Stage.GENERATE)
    return RequestRecord(
        request_id, "t", params=PARAMS, source=SOURCE, created_at=0, expires_at=9, **given
    )


def test_times_add_up() -> None:
    waiting: list[Any] = [("a", "20", "exact"), ("b", 40, "turbo"), ("c", False, False)]
    running = [a_record("r", work=20.0, step=15, steps=20)]
    forecast = forecast_queue(waiting, running, THROUGHPUT, [worker()])
    assert forecast.places == {
        "a": Place(1, pytest.approx(2.5 + 10 + 1)),
        "b": Place(2, pytest.approx(2.5 + 10 + 4 + 1)),
        "c": Place(3, pytest.approx(2.5 + 14 + 10 + 1)),
    }
    too_new = a_record("too new to be seen", status=Status.QUEUED, work=None)
    assert forecast.place(too_new) == Place(4, pytest.approx(2.5 + 24 + 10 + 1))


def test_a_request_that_is_too_new_to_be_seen_has_its_own_work() -> None:
    forecast = forecast_queue([("a", "20", "exact")], [], THROUGHPUT, [worker()])
    expected = ExpectedWork(work=1.0, load=60.0, profile="turbo")
    new = a_record("new", status=Status.QUEUED, work=None, expected=expected)
    assert forecast.place(new) == Place(2, pytest.approx(10 + 6 + 1))


def test_each_request_goes_to_the_worker_that_is_free_first() -> None:
    waiting: list[Any] = [("a", 20, "exact"), ("b", 80, "exact"), ("c", 20, "exact")]
    forecast = forecast_queue(waiting, [], THROUGHPUT, [worker(), worker()])
    etas = [forecast.places[request_id].eta_s for request_id in "abc"]
    assert etas == [pytest.approx(seconds) for seconds in (10 + 1, 40 + 1, 10 + 10 + 1)]
    assert forecast.next_start_s == pytest.approx(20)


def test_a_request_has_the_time_of_the_device_that_will_make_it() -> None:
    costs = {("exact", "fast"): CostModel(0.0, 0.5), ("exact", "slow"): CostModel(2.0, 1.0)}
    throughput = Throughput({}, 1.0, 20.0, costs)
    waiting: list[Any] = [("a", 20, "exact"), ("b", 20, "exact")]
    workers = [worker("fast"), worker("slow")]
    forecast = forecast_queue(waiting, [], throughput, workers)
    assert forecast.places["a"].eta_s == pytest.approx(10 + 1)
    assert forecast.places["b"].eta_s == pytest.approx(22 + 1)
    running = [a_record("f" * 32, work=20.0), a_record("e" * 32, work=20.0)]
    busy = [worker("fast", f"{'e' * 32}-generate"), worker("slow")]
    forecast = forecast_queue([], running, throughput, busy)
    assert forecast.devices == {"e" * 32: "fast", "f" * 32: "slow"}
    assert forecast.next_start_s == pytest.approx(10)
    assert forecast.eta_s(running[0]) == pytest.approx(23)


@pytest.mark.parametrize(
    ("throughput", "workers"), [(Throughput({}, 0, 0), [worker()]), (THROUGHPUT, [])]
)
def test_without_measurements_or_workers_there_is_no_time(
    throughput: Throughput, workers: list[LiveWorker]
) -> None:
    forecast = forecast_queue([("a", "20", "exact")], [a_record("r")], throughput, workers)
    assert forecast.places["a"] == Place(1, None)
    assert forecast.place(a_record("b", status=Status.QUEUED)) == Place(2, None)


@pytest.mark.parametrize(
    ("workers", "starting", "state", "eta_s"),
    [
        ([worker()], [], GpuWorkers.READY, 10 + 1),
        ([worker()], [StartingWorker("demo", 5.0)], GpuWorkers.READY, 10 + 1),
        ([], [StartingWorker("demo", 5.0)], GpuWorkers.STARTING, 5 + 10 + 1),
        ([], [StartingWorker("demo", None)], GpuWorkers.STARTING, None),
        ([], [], GpuWorkers.ABSENT, None),
    ],
)
def test_a_worker_that_starts_is_no_absent_worker(
    workers: list[LiveWorker],
    starting: list[StartingWorker],
    state: GpuWorkers,
    eta_s: float | None,
) -> None:
    forecast = forecast_queue([("a", 20, "exact")], [], THROUGHPUT, workers, starting)
    assert (forecast.workers, forecast.places["a"].eta_s) == (state, eta_s)


@pytest.mark.parametrize(
    ("record", "eta_s"),
    [
        (a_record(), 0.5 * 40 + 1),
        (a_record(step=5, steps=20), 0.5 * 40 * 0.75 + 1),
        (a_record(step=5, steps=20, profile="turbo"), 0.1 * 40 * 0.75 + 1),
        (a_record(work=None), 0.5 * 20 + 1),
        (a_record(stage=Stage.FINISH, step=20, steps=20), 1),
        (a_record("b", status=Status.QUEUED), 0.5 * 20 + 1),  # as the snapshot has it
        (a_record("b"), 0.5 * 20 + 1),  # put back: its worker has died
        (a_record("late", status=Status.QUEUED), 0.5 * 20 + 1 + 0.5 * 40),
    ],
)
def test_the_time_of_a_request_is_that_of_what_is_left_of_it(
    record: RequestRecord, eta_s: float
) -> None:
    forecast = forecast_queue([("b", "20", "exact")], [], THROUGHPUT, [worker()])
    assert forecast.eta_s(record) == pytest.approx(eta_s)


def test_the_time_after_a_step_is_that_of_the_latest_step_time() -> None:
    """An event stream has an older record than the snapshot."""
    times = StepTimes(steps=20, earlier_step=2, earlier_at=100.0, step=10, at=108.0)
    forecast = forecast_queue([], [a_record(steps=20, step_times=times)], THROUGHPUT, [worker()])
    # Eight steps of a second each, and the prediction of 20 s for all: also a second a step.
    assert forecast.eta_after_step_s(a_record(), 15, 20) == pytest.approx(5 + 1)
    slower = replace(times, at=116.0)  # two seconds a step: (40 s * 8 + 20 s) / 9
    forecast = forecast_queue([], [a_record(steps=20, step_times=slower)], THROUGHPUT, [worker()])
    assert forecast.eta_after_step_s(a_record(), 15, 20) == pytest.approx(340 / 9 / 4 + 1)


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


@dataclass
class Clock:
    """Of the forecast. Each reading lets `each_s` pass."""

    moment: float = 100.0
    each_s: float = 0.0

    def monotonic(self) -> float:
        self.moment += self.each_s
        return self.moment

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(forecast_module, "time", made)
    return made


def test_concurrent_forecasts_share_one_snapshot(redis: Redis, jobs: Jobs, clock: Clock) -> None:
    forecasts, record = Forecaster(redis, jobs), a_record()

    async def ask() -> Forecast:
        first, *others = await asyncio.gather(*(forecasts.current(record) for _ in range(20)))
        assert all(other is first for other in others)
        return first

    first = asyncio.run(ask())
    clock.moment = 100.49
    assert asyncio.run(ask()) is first
    clock.moment = 100.5
    assert asyncio.run(ask()) is not first


@pytest.mark.usefixtures("store")
def test_a_newer_request_gets_a_snapshot_that_has_it(
    redis: Redis, jobs: Jobs, clock: Clock
) -> None:
    forecasts = Forecaster(redis, jobs)
    seen, newer = (a_record(name, status=Status.QUEUED) for name in (IDS[3], "f" * 32))
    first = forecasts.refresh()
    clock.moment = 100.09
    assert asyncio.run(forecasts.current(newer)) is first
    clock.moment = 100.11
    assert asyncio.run(forecasts.current(seen)) is first
    assert asyncio.run(forecasts.current(newer)) is not first


@pytest.mark.usefixtures("store")
def test_a_slow_snapshot_is_not_taken_for_each_new_request(
    redis: Redis, jobs: Jobs, clock: Clock
) -> None:
    forecasts, newer = Forecaster(redis, jobs), a_record("f" * 32, status=Status.QUEUED)
    clock.each_s = 0.01  # of a snapshot: 0.2 s between two
    first, clock.each_s = forecasts.refresh(), 0.0
    read_at = clock.moment
    clock.moment = read_at + 0.19
    assert asyncio.run(forecasts.current(newer)) is first
    clock.moment = read_at + 0.21
    assert asyncio.run(forecasts.current(newer)) is not first


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
    assert forecast.places[IDS[0]].position == 1
    assert forecast.running == {}
    assert positions(redis, jobs) == {IDS[0]: 1, IDS[2]: 2, IDS[1]: 3, IDS[3]: 4}


def live(redis: Redis, device: str = "cpu") -> None:
    """A gpu worker that is alive."""
    fields = {"last_heartbeat": utcformat(now()), "model": "demo", "device": device}
    redis.hset("rq:worker:w", mapping=fields)
    redis.sadd(workers_key("gpu"), "rq:worker:w")


def test_estimates_use_the_load_the_profile_and_the_steps_of_every_request(
    redis: Redis, jobs: Jobs
) -> None:
    redis.hset(keys.MEASURED, mapping={"unit_s:exact": 1, "unit_s:turbo": 0.1, "work": 50})
    live(redis)
    store = RequestStore(redis, ttl_s=60)
    for request_id, load, profile in (
        (IDS[0], 10.0, "exact"),
        (IDS[1], 20.0, "turbo"),
        (IDS[2], 40.0, "exact"),
    ):
        store.submit(request_id, "t", PARAMS, SOURCE, store.expiry())
        store.claim(request_id, Stage.PREPARE, "e")
        result = prepared(work=3.0, load=load, profile=profile)
        store.advance(request_id, Stage.PREPARE, "e", result)
        jobs.enqueue(request_id, Stage.GENERATE)
    store.claim(IDS[0], Stage.GENERATE, "e")
    store.progress(IDS[0], "e", 20, 20)
    jobs.dequeue(IDS[0])
    forecast = Forecaster(redis, jobs).refresh()
    etas = {request_id: place.eta_s for request_id, place in forecast.places.items()}
    running = forecast.running[IDS[0]]
    left_s = forecast.eta_s(running)
    assert left_s is not None
    assert left_s < 2  # the steps of the first are done
    expected = {IDS[1]: left_s + 2, IDS[2]: left_s + 42}
    assert etas == {name: pytest.approx(seconds, abs=0.1) for name, seconds in expected.items()}
    new = a_record("new", status=Status.QUEUED, work=None)
    assert forecast.place(new).eta_s == pytest.approx(left_s + 42 + 50, abs=0.1)


def test_a_submission_has_its_own_work_at_once(redis: Redis, jobs: Jobs) -> None:
    """A small request of another key goes first, with its own time, before it is prepared."""
    redis.hset(keys.MEASURED, mapping={"unit_s:exact": 1, "unit_s:turbo": 0.1, "work": 50})
    live(redis)
    store = RequestStore(redis, ttl_s=60)
    for request_id, key, load, profile in (
        (IDS[0], "t", 40.0, "exact"),
        (IDS[1], "t", 40.0, "exact"),
        (IDS[2], "u", 10.0, "turbo"),
    ):
        expected = ExpectedWork(load, load, profile)
        account = Account(key)
        expiry = store.expiry()
        store.submit(request_id, key, PARAMS, SOURCE, expiry, account=account, expected=expected)
    places = Forecaster(redis, jobs).refresh().places
    assert places == {
        IDS[0]: Place(1, pytest.approx(40)),
        IDS[2]: Place(2, pytest.approx(40 + 1)),
        IDS[1]: Place(3, pytest.approx(40 + 1 + 40)),
    }


def test_a_worker_that_loads_is_part_of_the_forecast(redis: Redis, jobs: Jobs) -> None:
    redis.hset(keys.MEASURED, mapping={"unit_s:exact": 1, "work": 50, "startup_s:demo": 100})
    store = RequestStore(redis, ttl_s=60)
    store.submit(IDS[0], "t", PARAMS, SOURCE, store.expiry())
    assert Forecaster(redis, jobs).refresh().workers is GpuWorkers.ABSENT
    startup = Startup(redis, "w", "demo")
    startup.beat()
    forecast = Forecaster(redis, jobs).refresh()
    assert (forecast.workers, forecast.checkpoint) == (GpuWorkers.STARTING, "demo")
    assert forecast.places[IDS[0]].eta_s == pytest.approx(100 + 50, abs=1)

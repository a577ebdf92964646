"""Throughput: the estimates from finished requests, and their error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from app.core.queueing.throughput import Throughput, ThroughputMeter, _entry
from app.core.redis.keys import MEASURED
from app.core.requests.record import RequestRecord, Status
from app.core.requests.work import load_of
from tests.support.records import PARAMS, PROVENANCE, SOURCE


def finished(
    model_s: float, work: float = 20.0, predicted_s: float | None = None, profile: str = "exact"
) -> RequestRecord:
    """A request that took model_s in the model, and half a second beyond it."""
    return RequestRecord(
        *("a", "t", Status.COMPLETED, PARAMS, SOURCE),
        created_at=90,
        expires_at=1000,
        started_at=100.0,
        ended_at=100.5 + model_s,
        work=work,
        inference_s=model_s,
        profile=profile,
        predicted_s=predicted_s,
    )


def test_a_throughput_without_measurements_estimates_nothing(redis: Redis) -> None:
    assert ThroughputMeter(redis).read().to_end_s("exact", 20) is None


def test_the_next_request_will_take_as_long_as_those_before(redis: Redis) -> None:
    measured = ThroughputMeter(redis)
    measured.add(finished(10))
    throughput = measured.read()
    assert throughput.to_end_s("exact", 20) == pytest.approx(10.5)
    assert throughput.to_end_s("exact", 40) == pytest.approx(20.5)
    assert throughput.in_model_s("exact", None) == pytest.approx(10)  # the average work


def test_profiles_are_measured_apart(redis: Redis) -> None:
    measured = ThroughputMeter(redis)
    measured.add(finished(10))
    measured.add(finished(4, profile="turbo"))
    throughput = measured.read()
    assert throughput.in_model_s("turbo", 20) == pytest.approx(4)
    assert throughput.in_model_s("fast", 20) == pytest.approx(10)  # the slowest that is known


def test_old_measurements_lose_weight(redis: Redis) -> None:
    measured = ThroughputMeter(redis)
    measured.add(finished(100))
    measured.add(finished(50))
    assert measured.read().in_model_s("exact", 20) == pytest.approx(75)
    for _ in range(60):
        measured.add(finished(10))
    assert measured.read().in_model_s("exact", 20) == pytest.approx(10, rel=0.05)


def test_the_error_is_kept(redis: Redis) -> None:
    measured = ThroughputMeter(redis)
    measured.add(finished(9.5))
    assert redis.hget(MEASURED, "error_s:exact") is None
    measured.add(finished(9.5, predicted_s=8))
    measured.add(finished(9.5, predicted_s=11))
    assert redis.hgetall(MEASURED) | {
        b"error_s:exact": b"1.5",
        b"error_ratio:exact": b"0.15",
        b"requests:exact": b"3",
        b"predicted:exact": b"2",
    } == redis.hgetall(MEASURED)


@pytest.mark.parametrize(("model_s", "work"), [(10, 0), (0, 20)])
def test_a_request_without_work_or_time_teaches_nothing(
    redis: Redis, model_s: float, work: float
) -> None:
    ThroughputMeter(redis).add(finished(model_s, work))
    assert redis.exists("measured") == 0


def test_measurements_are_stored_with_nine_digits_under_fixed_names(redis: Redis) -> None:
    ThroughputMeter(redis).add(finished(0.5, work=20.0))
    assert redis.hgetall("measured") == {
        b"requests:exact": b"1",
        b"unit_s:exact": b"0.025",
        b"delivery_s": b"0.5",
        b"work": b"20",
    }


def test_clocks_that_disagree_take_no_time_beyond_the_model(redis: Redis) -> None:
    early = replace(finished(10), ended_at=101.0)
    ThroughputMeter(redis).add(early)
    assert ThroughputMeter(redis).read() == Throughput({"exact": 0.5}, 0.0, 20.0)


@pytest.mark.parametrize(
    ("measured", "expected_s"),
    [(1, 20.0), (2, 15.0), (3, 40 / 3), (10, 11.0), (11, 10.9)],
)
def test_the_first_ten_count_alike_and_later_ones_for_a_tenth(
    redis: Redis, measured: int, expected_s: float
) -> None:
    """The first took twenty seconds, all others ten."""
    measurements = ThroughputMeter(redis)
    for number in range(measured):
        measurements.add(finished(10 if number else 20))
    assert measurements.read().in_model_s("exact", 20) == pytest.approx(expected_s)


def test_work_and_delivery_follow_each_request_by_a_tenth(redis: Redis) -> None:
    measurements = ThroughputMeter(redis)
    measurements.add(finished(10, work=20))
    measurements.add(replace(finished(10, work=30), ended_at=112.0))
    throughput = measurements.read()
    assert (throughput.work, throughput.delivery_s) == (pytest.approx(21), pytest.approx(0.65))


SIZES = ((64, 64), (512, 512), (1024, 1024))


def made(size: tuple[int, int], seconds_per_load: float, **changes: Any) -> RequestRecord:
    """A request of this size whose time is proportional to its load, on `a card`."""
    load = load_of(PARAMS, size, "demo").total
    record = replace(
        finished(seconds_per_load * load),
        provenance=PROVENANCE,
        width=size[0],
        height=size[1],
        device="a card",
    )
    return replace(record, **changes)


def test_a_cost_is_fitted_to_the_requests_of_a_profile_and_a_device(redis: Redis) -> None:
    meter = ThroughputMeter(redis)
    for size in SIZES:
        meter.add(made(size, 2.0))
        meter.add(made(size, 8.0, device="a slow card"))
        meter.add(made(size, 0.5, profile="turbo"))
    throughput = meter.read("demo")
    for profile, device, expected_s in (
        ("exact", "a card", 20.0),
        ("exact", "a slow card", 80.0),
        ("turbo", "a card", 5.0),
        ("exact", None, 80.0),  # the slowest with this profile
        ("exact", "a new card", 80.0),
        ("fast", "a card", 20.0),  # the slowest profile of this card
        ("fast", "a new card", 80.0),
        (None, None, 80.0),
    ):
        seconds = throughput.in_model_s(profile, 10.0, device)
        assert seconds == pytest.approx(expected_s, rel=0.05), (profile, device)


def test_a_fit_is_that_of_the_served_checkpoint(redis: Redis) -> None:
    meter = ThroughputMeter(redis)
    meter.add(made((512, 512), 2.0))
    assert meter.read("demo").costs
    assert not meter.read("flux-dev-union-pro").costs
    assert not meter.read().costs


def test_the_averages_of_an_older_version_serve_until_a_request_is_fitted(redis: Redis) -> None:
    redis.hset(MEASURED, mapping={"unit_s:exact": "0.5", "delivery_s": "2", "work": "20"})
    meter = ThroughputMeter(redis)
    assert meter.read("demo").to_end_s("exact", 40.0, "a card") == 22.0
    meter.add(made((1024, 1024), 3.0))
    throughput = meter.read("demo")
    assert throughput.in_model_s("exact", 40.0, "a card") == pytest.approx(120, rel=0.05)
    assert throughput.delivery_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": None},
        {"provenance": replace(PROVENANCE, checkpoint="another")},
        {"width": None},
        {"params": replace(PARAMS, sampler="dpm_adaptive")},  # its evaluations are not known before
    ],
)
def test_a_request_of_unknown_load_is_in_the_averages_only(
    redis: Redis, changes: dict[str, Any]
) -> None:
    ThroughputMeter(redis).add(made((512, 512), 2.0, **changes))
    assert redis.keys("measured*") == [b"measured"]


def test_a_device_that_its_worker_did_not_name_counts_for_all(redis: Redis) -> None:
    meter = ThroughputMeter(redis)
    meter.add(made((512, 512), 2.0, device=None))
    seconds = meter.read("demo").in_model_s("exact", 10.0, "a card")
    assert seconds == pytest.approx(20, rel=0.05)


def test_the_last_128_requests_are_kept_for_30_days(redis: Redis) -> None:
    meter = ThroughputMeter(redis)
    for number in range(130):
        meter.add(made((512, 512), 1.0 + number))
    name = "measured:requests:demo:exact"
    assert redis.llen(name) == 128
    assert redis.lindex(name, 0) == _entry(made((512, 512), 130.0), 0.5).encode()
    assert 30 * 86_400 - 60 < redis.ttl(name) <= 30 * 86_400


def test_the_usual_delivery_is_the_median(redis: Redis) -> None:
    meter = ThroughputMeter(redis)
    for delivery_s in (0.25, 0.5, 60.0):
        request = made((512, 512), 1.0)
        meter.add(replace(request, ended_at=100.0 + (request.inference_s or 0) + delivery_s))
    assert meter.read("demo").delivery_s == pytest.approx(0.5)

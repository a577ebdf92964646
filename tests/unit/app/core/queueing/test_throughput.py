"""Throughput: the estimates from finished requests, and their error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis

from app.core.queueing.throughput import Throughput, ThroughputMeter
from app.core.redis.keys import MEASURED
from app.core.requests.record import RequestRecord, Status
from tests.support.records import PARAMS, SOURCE


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
    assert throughput.to_end_s("exact", 40, done=0.75) == pytest.approx(5.5)
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

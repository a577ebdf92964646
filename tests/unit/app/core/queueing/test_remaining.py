"""Remaining time: the throughput before the second step, the own step time after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.core.queueing.remaining import RemainingTime
from app.core.queueing.throughput import Throughput
from app.core.requests.record import RequestRecord, Stage, Status, StepTimes
from app.core.requests.work import load_of
from tests.support.records import PARAMS, SOURCE

THROUGHPUT = Throughput({"exact": 0.5}, delivery_s=1.0, work=20.0)
ONE = replace(PARAMS, samples=1, cn_stop=0.0)


def running(**changes: Any) -> RequestRecord:
    """For 20 s by the throughput, since second 100, without a known size."""
    given: dict[str, Any] = {"load": 40.0, "steps": 0, "started_at": 100.0, **changes}
    given.setdefault("stage", Stage.GENERATE)
    given.setdefault("params", ONE)
    return RequestRecord(
        *("a", "t", Status.PROCESSING), source=SOURCE, created_at=0, expires_at=9, **given
    )


def times(step: int, at: float, earlier_step: int = 1, earlier_at: float = 110.0) -> StepTimes:
    return StepTimes(20, earlier_step, earlier_at, step, at)


def remaining(record: RequestRecord, now: float) -> float | None:
    return RemainingTime(THROUGHPUT).seconds(record, now)


def test_before_the_first_step_the_throughput_decides() -> None:
    assert remaining(running(), 100.0) == 20.0
    assert remaining(running(), 100.5) == 19.5
    assert remaining(running(), 500.0) == 19.0  # its first step ends now
    assert remaining(running(steps=40), 500.0) == 19.5


def test_a_late_step_ends_now() -> None:
    first = running(steps=20, step_times=times(1, 110.0))
    assert remaining(first, 110.0) == pytest.approx(19.0)
    assert remaining(first, 110.25) == pytest.approx(18.75)
    assert remaining(first, 500.0) == pytest.approx(18.0)
    assert remaining(running(steps=20, step_times=times(20, 130.0)), 500.0) == 0.0


def test_a_clock_that_is_behind_adds_no_time() -> None:
    assert remaining(running(steps=20, step_times=times(1, 110.0)), 90.0) == pytest.approx(19.0)


def test_the_own_step_time_weighs_as_many_as_it_covers() -> None:
    """Three seconds a step, 60 s in all, where the throughput says 20 s."""
    second = running(step_times=times(2, 113.0))
    assert remaining(second, 113.0) == pytest.approx((60 + 20) / 2 * 18 / 20)
    tenth = running(step_times=times(10, 137.0))
    assert remaining(tenth, 137.0) == pytest.approx((60 * 9 + 20) / 10 / 2)


def test_the_own_step_time_serves_before_anything_is_measured() -> None:
    unknown = RemainingTime(Throughput({}, 0.0, 0.0))
    assert unknown.seconds(running(), 100.0) is None
    assert unknown.seconds(running(step_times=times(2, 113.0)), 113.0) == pytest.approx(54)


def test_steps_of_no_time_are_no_measurement() -> None:
    assert remaining(running(step_times=times(9, 110.0)), 110.0) == pytest.approx(11)


def test_a_worker_of_an_older_version_reports_steps_only() -> None:
    assert remaining(running(step=5, steps=20), 500.0) == 15.0


def test_after_the_last_stage_on_the_gpu_nothing_remains() -> None:
    assert remaining(running(stage=Stage.FINISH), 100.0) == 0.0


def test_steps_without_the_controlnet_take_less() -> None:
    """The shares of the steps and of the rest of a picture are those of its load."""
    params = replace(ONE, cn_stop=0.5, steps=20)
    record = running(params=params, width=512, height=512, step_times=times(10, 119.0))
    load = load_of(params, (512, 512), "demo")
    first_half = load.done(10, 20) - load.done(1, 20)
    own_s = 9.0 / first_half
    expected_s = (own_s * 9 + 20) / 10 * (1 - load.done(10, 20))
    assert RemainingTime(THROUGHPUT, "demo").seconds(record, 119.0) == pytest.approx(expected_s)
    plain = (9.0 / (9 / 20) * 9 + 20) / 10 / 2
    assert RemainingTime(THROUGHPUT, "another").seconds(record, 119.0) == pytest.approx(plain)

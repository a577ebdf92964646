"""The meter: busy seconds, steps and memory of a device, with a clock that the test moves."""

from __future__ import annotations

import pytest

from app.core.queueing.devices import DeviceStatus
from worker.meter import Device, Meter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    meter = Meter(clock)
    meter.device = Device("demo", "H200", lambda: (3, 8))
    return meter


def status(meter: Meter) -> DeviceStatus:
    current = meter.status()
    assert current is not None
    return current


def test_a_meter_has_no_status_before_the_device_is_known(clock: Clock) -> None:
    assert Meter(clock).status() is None


def test_an_idle_device_is_not_busy(meter: Meter, clock: Clock) -> None:
    clock.now += 10
    assert status(meter) == DeviceStatus("demo", "H200", 0.0, 0.0, 0.0, 3, 8)


def test_running_work_counts_as_busy_time(meter: Meter, clock: Clock) -> None:
    clock.now += 2
    with meter.working():
        clock.now += 2
        for _ in range(8):
            meter.step()
        current = status(meter)
        assert (current.busy_s, current.busy_ratio, current.steps_per_s) == (2, 0.5, 4)
    clock.now += 4
    assert status(meter).busy_ratio == 0.25


def test_the_busy_ratio_is_of_the_last_minute(meter: Meter, clock: Clock) -> None:
    for _ in range(30):
        clock.now += 2
        status(meter)
    with meter.working():
        for _ in range(30):
            clock.now += 2
            current = status(meter)
    assert (current.busy_s, current.busy_ratio) == (60, 1)
    for _ in range(40):
        clock.now += 2
        current = status(meter)
    assert (current.busy_s, current.busy_ratio, current.steps_per_s) == (60, 0, 0)


def test_work_that_fails_ends_the_busy_time(meter: Meter, clock: Clock) -> None:
    def work() -> None:
        with meter.working():
            clock.now += 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    clock.now += 1
    assert status(meter).busy_s == 1

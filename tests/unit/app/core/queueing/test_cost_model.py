"""Cost models: what is fitted to measured requests, and what outliers change."""

from __future__ import annotations

from random import Random

import pytest

from app.core.queueing.cost_model import CostModel, fit


def measured(
    fixed_s: float, unit_s: float, count: int = 60, noise: float = 0.08
) -> list[tuple[float, float]]:
    """Requests of loads from 0.2 to 75."""
    random = Random(3)
    loads = [0.2 * 375 ** random.random() for _ in range(count)]
    return [(load, (fixed_s + unit_s * load) * random.lognormvariate(0, noise)) for load in loads]


@pytest.mark.parametrize(("fixed_s", "unit_s"), [(0.0, 1.0), (0.5, 1.0), (5.0, 0.1), (0.1, 20.0)])
def test_both_parts_are_found(fixed_s: float, unit_s: float) -> None:
    cost = fit(measured(fixed_s, unit_s))
    for load in (0.3, 3, 30):
        expected = fixed_s + unit_s * load
        assert cost.seconds(load) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_outliers_of_a_quarter_change_little(factor: float) -> None:
    points = [
        (load, seconds * (factor if index % 4 == 0 else 1))
        for index, (load, seconds) in enumerate(measured(0.5, 1.0))
    ]
    cost = fit(points)
    for load in (0.3, 3, 30):
        assert cost.seconds(load) == pytest.approx(0.5 + load, rel=0.2)


def test_tiny_requests_do_not_price_a_large_one() -> None:
    """Of one size, nothing says which part of their time is fixed: most of it is assumed to grow
    with the load."""
    cost = fit([(0.25, 0.3)] * 8)
    assert cost.seconds(0.25) == pytest.approx(0.3)
    assert cost.seconds(25) == pytest.approx(25 * 1.0, rel=0.05)


def test_a_large_request_among_tiny_ones_is_believed() -> None:
    cost = fit([(25.0, 10.0), *[(0.25, 0.3)] * 20])
    assert cost.seconds(25) == pytest.approx(10, rel=0.1)
    assert cost.seconds(0.25) == pytest.approx(0.3, rel=0.1)


def test_newer_requests_count_more() -> None:
    slower = [(load, 2 * seconds) for load, seconds in measured(0.0, 1.0)]
    cost = fit([*slower[:30], *measured(0.0, 1.0, 60)])
    assert cost.seconds(10) > 15


@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 10.0), (10.0, 5.0), (20.0, 4.0)],  # larger ones were faster
        [(0.1, 0.001), (10.0, 100.0)],  # the line through both begins below zero
        [(1e-9, 1e-9)],
    ],
)
def test_no_part_is_negative(points: list[tuple[float, float]]) -> None:
    cost = fit(points * 5)
    assert cost.fixed_s >= 0
    assert cost.unit_s >= 0
    assert cost.seconds(1.0) > 0


def test_seconds_are_the_fixed_part_and_that_of_the_load() -> None:
    assert CostModel(2.0, 0.5).seconds(10) == 7.0

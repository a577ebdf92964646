"""Estimates against simulated requests (tools/etabench): the goals of scripts/bench eta."""

from __future__ import annotations

import pytest
from redis import Redis

from tools.etabench.__main__ import GOALS, ratios
from tools.etabench.devices import DEMO_ON_A_CORE, FLUX_ON_A_CARD, SimulatedDevice
from tools.etabench.simulation import simulate
from tools.etabench.workloads import CASES, mixed


@pytest.mark.parametrize(
    ("device", "workers"), [(DEMO_ON_A_CORE, 1), (FLUX_ON_A_CARD, 2)], ids=["demo", "flux"]
)
def test_estimates_of_mixed_requests_reach_the_goals(
    redis: Redis, device: SimulatedDevice, workers: int
) -> None:
    outcomes = simulate(redis, device, workers, mixed(device, workers, 40, seed=1), seed=1)
    for moment in GOALS:
        of = ratios(outcomes, moment)
        assert of.good, of
    half_way = ratios(outcomes, "half-way")
    assert 0.8 < half_way.p10 < half_way.p50 < 1.2, half_way


@pytest.mark.parametrize("case", CASES)
def test_the_size_of_earlier_requests_does_not_price_a_request(redis: Redis, case: str) -> None:
    last = simulate(redis, DEMO_ON_A_CORE, 1, CASES[case], seed=1)[-1]
    estimate = last.estimates["submission"]
    assert estimate is not None
    assert 0.7 < last.actual["submission"] / estimate < 1.4

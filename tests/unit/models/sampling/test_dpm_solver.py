"""dpm_fast's intervals, and the step control of dpm_adaptive at its thresholds and one step beside.

Where the model answers 0 until the third call of a try, the two solutions of that try differ by a
known amount: dpm_adaptive's acceptance can be aimed at.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.errors import TooManyEvaluations
from models.sampling import SAMPLERS
from models.sampling.dpm_solver import fast_orders

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("steps", "orders"),
    [
        (1, [1]),
        (2, [2]),
        (3, [2, 1]),
        (4, [3, 1]),
        (5, [3, 2]),
        (6, [3, 2, 1]),
        (15, [3, 3, 3, 3, 2, 1]),
        (16, [3, 3, 3, 3, 3, 1]),
    ],
)
def test_the_orders_of_dpm_fast_use_up_the_steps(steps: int, orders: list[int]) -> None:
    assert fast_orders(steps) == orders
    assert sum(orders) == steps


class Enough(Exception):
    pass


def tries(start: float, error: float, tolerance: float) -> list[float]:
    """The sigmas of the first two tries of dpm_adaptive from `start` everywhere at sigma = 1, where
    the error of the first is `error` tolerances.

    h = 0.05 is its first step in log sigma, r = 2/3 the place of the third call: what this adds to
    the third-order solution is A e^(-h (1 - r)) / r ((e^h - 1) / h - 1).
    """
    h, r = 0.05, 2 / 3
    answer = error * tolerance / (math.exp(-h * (1 - r)) / r * (math.expm1(h) / h - 1))
    asked: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        if len(asked) > 5:
            raise Enough
        return torch.full_like(x, answer if len(asked) == 3 else 0.0)

    x = torch.full((1, 4), start, dtype=torch.float64)
    with pytest.raises(Enough):
        SAMPLERS["dpm_adaptive"](denoise, x, torch.tensor([1.0, 0.01, 0.0], dtype=torch.float64))
    assert asked[:3] == pytest.approx([1.0, math.exp(-0.05 / 3), math.exp(-0.1 / 3)])
    return asked


# A try is accepted where 1 + atan(error^(-1/3) - 1) >= 0.81: up to an error of 1.898.
@pytest.mark.parametrize(("error", "accepted"), [(1.0, True), (1.89, True), (1.906, False)])
@pytest.mark.parametrize(
    ("start", "tolerance"),
    [(0.0, 0.0078), (0.1, 0.0078), (1.0, 0.05), (-20.0, 1.0)],
    ids=["absolute", "absolute, small", "relative", "relative, large and negative"],
)
def test_dpm_adaptive_accepts_up_to_its_tolerance(
    start: float, tolerance: float, error: float, accepted: bool
) -> None:
    next_start = tries(start, error, tolerance)[3]
    assert next_start == pytest.approx(math.exp(-0.05) if accepted else 1.0)


@pytest.mark.parametrize(
    ("error", "factor"),
    [(8.0, 0.536352), (1.0, 1.0), (0.125, 1.785398)],  # 1 - atan 0.5, 1, 1 + atan 1
)
def test_the_next_step_of_dpm_adaptive_follows_the_error(error: float, factor: float) -> None:
    asked = tries(1.0, error, 0.05)
    assert math.log(asked[3] / asked[4]) == pytest.approx(0.05 * factor / 3, rel=1e-5)


@pytest.mark.parametrize(("error", "accepted"), [(1.89, True), (1.906, False)])
def test_the_tolerance_of_dpm_adaptive_follows_the_latents(error: float, accepted: bool) -> None:
    """In the second try: the size of the latents is that at the end of the first, e^-0.05."""
    first, r = 0.05, 2 / 3
    second = first * (1 + math.atan(1e8 ** (1 / 3) - 1))  # after an error of 0
    difference = math.exp(-second * (1 - r)) / r * (math.expm1(second) / second - 1)
    answer = error * 0.05 * math.exp(-first) / difference
    asked: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        if len(asked) > 7:
            raise Enough
        return torch.full_like(x, answer if len(asked) == 6 else 0.0)

    x = torch.ones(1, 4, dtype=torch.float64)
    with pytest.raises(Enough):
        SAMPLERS["dpm_adaptive"](denoise, x, torch.tensor([1.0, 0.01, 0.0], dtype=torch.float64))
    assert asked[3] == pytest.approx(math.exp(-first))
    assert asked[6] == pytest.approx(math.exp(-first - second) if accepted else asked[3])


def test_dpm_adaptive_gives_up_after_900_evaluations() -> None:
    generator, calls = torch.Generator().manual_seed(0), 0

    def denoise(x: Tensor, _sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return 1e3 * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    with pytest.raises(TooManyEvaluations, match="no end after 900 "):
        SAMPLERS["dpm_adaptive"](denoise, x, torch.tensor([1.0, 0.01, 0.0]))
    assert calls == 900


@pytest.mark.parametrize(("distance", "evaluations"), [(0.9e-5, 0), (1.1e-5, 3), (0.05, 3)])
def test_dpm_adaptive_ends_within_a_hundred_thousandth(distance: float, evaluations: int) -> None:
    """In log sigma, of the last sigma above zero."""
    asked: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        return torch.zeros_like(x)

    sigmas = torch.tensor([1.0, math.exp(-distance), 0.0], dtype=torch.float64)
    SAMPLERS["dpm_adaptive"](denoise, torch.ones(1, 4, dtype=torch.float64), sigmas)
    assert len(asked) == evaluations

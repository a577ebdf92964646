"""The step cache: what it skips, what it never skips, and that it is exact where it can be."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from models.sampling import SAMPLERS, sigmas_for
from models.spec import SAMPLER_NAMES
from models.step_cache import StepCache

pytestmark = pytest.mark.torch


class Straight:
    """A model whose prediction is linear in sigma; on its own side of the window it is another."""

    def __init__(self, stop: float) -> None:
        self.stop, self.ran = stop, []  # type: float, list[float]

    def controls(self, sigma: float) -> bool:
        return sigma >= self.stop

    def prediction(self, sigma: float) -> float:
        return 3.0 + sigma if self.controls(sigma) else -2.0 * sigma

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        self.ran.append(sigma)
        return (x - self.prediction(sigma)) / sigma


def run(sampler: str, stop: float, steps: int = 20) -> tuple[Straight, StepCache, Tensor]:
    model = Straight(stop)
    cache = StepCache(model)  # type: ignore[arg-type]  # all of it that the cache uses
    sigmas = sigmas_for("simple", steps, sampler=sampler)
    x = torch.randn(1, 4, dtype=torch.float64)
    final = SAMPLERS[sampler](cache, x, sigmas, noise=lambda *_: torch.zeros_like(x))
    return model, cache, final


@pytest.mark.parametrize("stop", [0.0, 0.5, 0.76, 2.0])
def test_a_third_or_more_of_the_evaluations_is_spared(stop: float) -> None:
    model, cache, _ = run("euler", stop)
    assert len(model.ran) + cache.skipped == 20
    assert cache.skipped >= 6


@pytest.mark.parametrize("stop", [0.5, 0.76])
def test_both_sides_of_the_window_begin_with_two_evaluations(stop: float) -> None:
    model, _, _ = run("euler", stop)
    sigmas = sigmas_for("simple", 20).tolist()[:-1]
    before = [sigma for sigma in sigmas if sigma >= stop]
    after = [sigma for sigma in sigmas if sigma < stop]
    assert set(before[:2]) <= set(model.ran)
    assert set(after[:2]) <= set(model.ran)


def test_two_neighbours_are_never_both_spared() -> None:
    model, _, _ = run("euler", 0.5)
    ran = [sigma in model.ran for sigma in sigmas_for("simple", 20).tolist()[:-1]]
    assert all(first or second for first, second in pairwise(ran))


def test_the_first_two_and_the_last_evaluation_are_run() -> None:
    model, _, _ = run("euler", 0.5)
    sigmas = sigmas_for("simple", 20).tolist()[:-1]
    assert model.ran[:2] == sigmas[:2]
    assert model.ran[-1] == sigmas[-1]


@pytest.mark.parametrize("stop", [0.5, 2.0])
def test_a_prediction_linear_in_sigma_is_carried_on_exactly(stop: float) -> None:
    """Also across the window's end: nothing of one side is carried over to the other."""
    x = torch.randn(1, 4)
    model = Straight(stop)
    cache = StepCache(model)  # type: ignore[arg-type]
    for sigma in sigmas_for("simple", 20).tolist()[:-1]:
        predicted = x - sigma * cache.velocity(x, sigma)
        assert predicted.tolist()[0] == pytest.approx([model.prediction(sigma)] * 4, abs=1e-4)
    assert cache.skipped > 0


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_ends_with_it(sampler: str) -> None:
    _, _, final = run(sampler, 0.5)
    assert bool(torch.isfinite(final).all())

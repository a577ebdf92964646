"""The step cache: what it skips, what it never skips, and where it is exact."""

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


def ran(*sigmas: float) -> list[bool]:
    """Whether an evaluation at each of these sigmas, one after the other, is run."""
    model = Straight(0.0)
    cache = StepCache(model)  # type: ignore[arg-type]  # all of it that the cache uses
    run = []
    for sigma in sigmas:
        before = len(model.ran)
        cache.velocity(torch.zeros(1, 4, dtype=torch.float64), sigma)
        run.append(len(model.ran) > before)
    assert cache.skipped == run.count(False)
    return run


@pytest.mark.parametrize(
    ("sigmas", "spared"),
    [
        ((1.0, 0.985, 0.9699), True),
        ((1.0, 0.985, 0.97), False),
        ((0.2, 0.15, 0.1001), True),
        ((0.2, 0.15, 0.1), False),
    ],
    ids=["below 0.97", "at 0.97", "above 0.1", "at 0.1"],
)
def test_evaluations_are_skipped_between_two_sigmas(sigmas: tuple[float], spared: bool) -> None:
    assert ran(*sigmas) == [True, True, not spared]


@pytest.mark.parametrize(
    ("sigmas", "spared"),
    [
        ((0.75, 0.5, 0.125), True),  # one and a half times the distance of the two before
        ((0.75, 0.5, 0.1249), False),
        ((0.75, 0.5, 0.5), True),
        ((0.75, 0.5, 0.875), True),  # the same backwards, as a second stage may ask
        ((0.75, 0.5, 0.8751), False),
    ],
)
def test_a_prediction_reaches_one_and_a_half_distances(sigmas: tuple[float], spared: bool) -> None:
    assert ran(*sigmas) == [True, True, not spared]


def test_an_evaluation_out_of_reach_does_not_disable_the_cache() -> None:
    assert ran(0.75, 0.5, 0.12, 0.11) == [True, True, True, False]
    assert ran(0.9, 0.8, 0.7, 0.6, 0.5, 0.4) == [True, True, False, True, False, True]


@pytest.mark.parametrize(("gap", "spared"), [(0.9e-6, False), (1.1e-6, True)])
def test_two_predictions_at_one_sigma_count_as_one(gap: float, spared: bool) -> None:
    """Without a slope between them there is nothing to carry on."""
    assert ran(0.5, 0.5 - gap, 0.5 - 2 * gap) == [True, True, not spared]


def test_the_newer_of_two_predictions_at_one_sigma_is_extrapolated() -> None:
    class Corrected(Straight):
        """Its first answer is another than all later ones."""

        def prediction(self, sigma: float) -> float:
            return super().prediction(sigma) + (100.0 if len(self.ran) == 1 else 0.0)

    x = torch.zeros(1, 4, dtype=torch.float64)
    model = Corrected(0.0)
    cache = StepCache(model)  # type: ignore[arg-type]
    for sigma in (0.9, 0.9, 0.8):
        cache.velocity(x, sigma)
    predicted = x - 0.7 * cache.velocity(x, 0.7)
    assert cache.skipped == 1
    assert predicted.tolist()[0] == pytest.approx([3.7] * 4)


def test_the_evaluations_of_twenty_steps_that_are_run() -> None:
    """Above 0.97, every second one on either side of the window's end at step 11, below 0.1."""
    model, _, _ = run("euler", 0.7595)
    sigmas = sigmas_for("simple", 20).tolist()
    assert [sigmas.index(sigma) for sigma in model.ran] == [0, 1, 3, 5, 7, 9, 11, 12, 14, 16, 18]


def run(sampler: str, stop: float, steps: int = 20) -> tuple[Straight, StepCache, Tensor]:
    model = Straight(stop)
    cache = StepCache(model)  # type: ignore[arg-type]  # all of it that the cache uses
    sigmas = sigmas_for("simple", steps, sampler=sampler)
    x = torch.randn(1, 4, dtype=torch.float64)
    final = SAMPLERS[sampler](cache, x, sigmas, noise=lambda *_: torch.zeros_like(x))
    return model, cache, final


@pytest.mark.parametrize("stop", [0.0, 0.5, 0.76, 2.0])
def test_a_third_or_more_of_the_evaluations_is_skipped(stop: float) -> None:
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


def test_two_consecutive_evaluations_are_never_both_skipped() -> None:
    model, _, _ = run("euler", 0.5)
    ran = [sigma in model.ran for sigma in sigmas_for("simple", 20).tolist()[:-1]]
    assert all(first or second for first, second in pairwise(ran))


def test_the_first_two_and_the_last_evaluation_are_run() -> None:
    model, _, _ = run("euler", 0.5)
    sigmas = sigmas_for("simple", 20).tolist()[:-1]
    assert model.ran[:2] == sigmas[:2]
    assert model.ran[-1] == sigmas[-1]


@pytest.mark.parametrize("stop", [0.5, 2.0])
def test_a_prediction_linear_in_sigma_is_extrapolated_exactly(stop: float) -> None:
    """Also across the window's end: nothing of one side is carried over to the other."""
    x = torch.randn(1, 4)
    model = Straight(stop)
    cache = StepCache(model)  # type: ignore[arg-type]
    for sigma in sigmas_for("simple", 20).tolist()[:-1]:
        predicted = x - sigma * cache.velocity(x, sigma)
        assert predicted.tolist()[0] == pytest.approx([model.prediction(sigma)] * 4, abs=1e-4)
    assert cache.skipped > 0


def test_nothing_is_carried_over_from_one_set_of_controls_to_another() -> None:
    """Both sides of the end of one window and the start of the next run one control each."""

    class TwoWindows(Straight):
        def controls(self, sigma: float) -> tuple[int, ...]:  # type: ignore[override]  # as theirs
            return (0,) * (sigma >= self.stop) + (1,) * (sigma <= self.stop)

        def prediction(self, sigma: float) -> float:
            return {(0,): 3.0 + sigma, (0, 1): 50.0, (1,): -2.0 * sigma}[self.controls(sigma)]

    x = torch.randn(1, 4)
    sigmas = sigmas_for("simple", 20).tolist()[:-1]
    model = TwoWindows(sigmas[10])
    cache = StepCache(model)  # type: ignore[arg-type]
    for sigma in sigmas:
        predicted = x - sigma * cache.velocity(x, sigma)
        assert predicted.tolist()[0] == pytest.approx([model.prediction(sigma)] * 4, abs=1e-4)
    assert set(sigmas[10:13]) <= set(model.ran)
    assert cache.skipped >= 6


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_runs_with_the_step_cache(sampler: str) -> None:
    _, _, final = run(sampler, 0.5)
    assert bool(torch.isfinite(final).all())

"""The check for NaN and infinity names the step in which they appear."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.errors import NonFiniteLatents
from models.finite import FiniteWatch
from models.sampling import Flow
from models.spec import GenerationSpec

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(prompt="", control="canny", width=64, height=64, steps=5)
X = torch.ones(1, 2, 3)


class Scripted(Flow):
    """Answers with one value after another, in one place of many."""

    def __init__(self, *answers: float) -> None:
        self._answers = iter(answers)

    def velocity(self, x: Tensor, sigma: float) -> Tensor:  # noqa: ARG002 - the protocol
        velocity = torch.zeros_like(x)
        velocity[0, 1, 2] = next(self._answers)
        return velocity


def watched(*answers: float) -> FiniteWatch:
    """One evaluation a step."""
    watch = FiniteWatch(Scripted(*answers))
    for step in range(1, len(answers) + 1):
        watch.step = step
        watch.velocity(X, 0.5)
    return watch


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_the_first_step_that_is_not_finite_is_named(bad: float, step: int) -> None:
    answers = [0.0] * (step - 1) + [bad] * (6 - step)
    with pytest.raises(NonFiniteLatents, match=f"euler, scheduler simple at step {step} of 5$"):
        watched(*answers).raise_for(SPEC, X * torch.nan)


def test_a_result_that_alone_is_not_finite_names_the_last_step() -> None:
    with pytest.raises(NonFiniteLatents, match="at step 5 of 5$"):
        watched(0.0, 0.0, 0.0, 0.0, 0.0).raise_for(SPEC, X / 0)


def test_large_numbers_are_finite() -> None:
    watched(1e38, -1e38, 0.0).raise_for(SPEC, X * 1e38)


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        (replace(SPEC, sampler="dpm_fast"), 2),
        (replace(SPEC, sampler="dpm_2"), 5),
        (replace(SPEC, schedule="ddim_uniform", steps=6), 7),
    ],
    ids=["dpm_fast", "dpm_2", "ddim_uniform"],
)
def test_the_steps_are_those_of_sampler_and_schedule(spec: GenerationSpec, steps: int) -> None:
    with pytest.raises(NonFiniteLatents, match=f"at step 1 of {steps}$"):
        watched(torch.nan).raise_for(spec, X)


def test_the_finite_watch_returns_the_velocity() -> None:
    velocity = FiniteWatch(Scripted(3.0)).velocity(X, 0.5)
    assert float(velocity.sum()) == 3.0

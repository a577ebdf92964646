"""The computed number of evaluations equals the number that the samplers make."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from models.evaluations import evaluations_of
from models.sampling import SAMPLERS, SCHEDULES, sigmas_for
from models.sampling.analytic import GaussianMixture

pytestmark = pytest.mark.torch

# The least and the most a request may ask for, and some that ddim_uniform makes longer or not.
STEPS = (15, 16, 20, 37, 50, 75)
MODEL = GaussianMixture.random(3)


def counted(sampler: str, schedule: str, steps: int) -> int:
    evaluations = 0

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return MODEL(x, sigma)

    sigmas = sigmas_for(schedule, steps, sampler=sampler)
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)[None]
    SAMPLERS[sampler](denoise, x, sigmas, noise=lambda _sigma, _next: torch.zeros_like(x))
    return evaluations


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "dpm_adaptive"])
def test_the_samplers_make_the_computed_number_of_evaluations(sampler: str, schedule: str) -> None:
    said = [evaluations_of(sampler, schedule, steps) for steps in STEPS]
    assert said == [counted(sampler, schedule, steps) for steps in STEPS]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_dpm_adaptive_is_estimated(schedule: str) -> None:
    for steps in STEPS:
        assert evaluations_of("dpm_adaptive", schedule, steps) == 30
    made = counted("dpm_adaptive", schedule, 20)
    assert 15 <= made <= 37


@pytest.mark.parametrize(
    ("sampler", "schedule", "steps", "evaluations"),
    [
        ("euler", "simple", 20, 20),
        ("heun", "simple", 20, 39),
        ("heunpp2", "simple", 20, 57),
        ("euler", "ddim_uniform", 15, 16),
        ("uni_pc", "ddim_uniform", 15, 15),
        ("dpm_2", "karras", 15, 29),
        ("dpm_fast", "ddim_uniform", 15, 16),
    ],
)
def test_evaluations_of_some_requests_in_numbers(
    sampler: str, schedule: str, steps: int, evaluations: int
) -> None:
    assert evaluations_of(sampler, schedule, steps) == evaluations


def test_an_error_about_an_unknown_sampler_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'eular'.*euler_ancestral"):
        evaluations_of("eular", "simple", 20)


def test_the_module_evaluations_imports_no_torch() -> None:
    command = "import sys, models.evaluations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0

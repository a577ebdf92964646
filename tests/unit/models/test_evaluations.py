"""The computed number of evaluations equals the number that the samplers make."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import pytest
import torch
from torch import Tensor

from models import evaluations as module
from models.checkpoints.demo import TEXT_TOKENS
from models.evaluations import adaptive, evaluations_of, least_seconds, relative_cost
from models.sampling import SAMPLERS, SCHEDULES, sigmas_for
from models.sampling.analytic import GaussianMixture
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES, SAMPLER_NAMES

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


def test_only_the_number_of_dpm_adaptive_depends_on_the_picture() -> None:
    assert [name for name in SAMPLER_NAMES if adaptive(name)] == ["dpm_adaptive"]


FLUX = "flux-dev-union-pro"


@pytest.mark.parametrize(
    ("size", "teraflops"),
    [
        ((512, 512), 21.5),
        ((768, 768), 41.9),
        ((1024, 1024), 74.4),
        ((1024, 1536), 117),
        ((1536, 1536), 192),
        ((2048, 2048), 418),
    ],
)
def test_the_cost_of_a_size_is_its_share_of_the_counted_operations(
    size: tuple[int, int], teraflops: float
) -> None:
    """Counted with FlopCounterMode on FLUX.1's transformer on the meta device."""
    assert relative_cost(FLUX, size) == pytest.approx(teraflops / 74.4, rel=0.005)


def test_a_size_costs_as_much_as_it_is_generated() -> None:
    assert relative_cost(FLUX, (1009, 1010)) == relative_cost(FLUX, (1024, 1024)) == 1


def test_union_pro_2_has_the_same_transformer() -> None:
    for size in ((512, 512), (1536, 1536)):
        assert relative_cost(f"{FLUX}-2", size) == relative_cost(FLUX, size)
    assert least_seconds(f"{FLUX}-2", "exact") == least_seconds(FLUX, "exact")


def test_the_costs_of_the_demo_are_those_of_its_networks() -> None:
    weights = files("models.checkpoints") / "demo_weights"
    config = json.loads((weights / "base/transformer/config.json").read_text())
    cost = module._NETWORK_COSTS["demo"]
    assert cost.width == config["num_attention_heads"] * config["attention_head_dim"]
    assert cost.text_tokens == TEXT_TOKENS
    blocks = config["num_layers"] + config["num_single_layers"]
    attention_only = 4 * 4144**2 * cost.width * blocks / 630e12
    assert 0.5 * attention_only < cost.least_s < 1.5 * attention_only


def test_no_card_is_faster_than_the_arithmetic_of_an_h200() -> None:
    assert least_seconds(FLUX, "exact") <= 59.5 / 790 + 14.9 / 630
    assert least_seconds(FLUX, "fast") <= 59.5 / 1580 + 14.9 / 630
    for checkpoint in CHECKPOINT_NAMES:
        seconds = [least_seconds(checkpoint, profile) for profile in PROFILE_NAMES]
        assert seconds == sorted(seconds, reverse=True)
        assert seconds[2] == pytest.approx(seconds[1] / 2)

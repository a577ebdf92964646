"""The computed number of evaluations equals the number that the samplers make."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from importlib.resources import files

import pytest
import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models import evaluations as module
from models.checkpoints.architecture import FLUX_DEV, UNION_PRO, Config
from models.checkpoints.demo import TEXT_TOKENS
from models.evaluations import (
    adaptive,
    control_factor,
    evaluations_of,
    gpu_load,
    least_seconds,
    relative_cost,
)
from models.sampling import SAMPLERS, SCHEDULES, sigmas_for
from models.sampling.analytic import GaussianMixture
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES, SAMPLER_NAMES, Control

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


WEIGHTS = files("models.checkpoints") / "demo_weights"


def config_of(folder: str) -> Config:
    config = json.loads((WEIGHTS / folder / "config.json").read_text())
    return {name: value for name, value in config.items() if not name.startswith("_")}


@pytest.mark.parametrize(
    ("checkpoint", "transformer", "controlnet", "text_tokens"),
    [
        ("demo", config_of("base/transformer"), config_of("controlnet"), TEXT_TOKENS),
        (FLUX, FLUX_DEV, UNION_PRO, 512),
        (
            "flux-dev-union-pro-2",
            FLUX_DEV,
            {**UNION_PRO, "num_layers": 6, "num_single_layers": 0, "num_mode": None},
            512,
        ),
    ],
)
@torch.inference_mode()
def test_the_share_of_a_controlnet_is_that_of_the_counted_operations(
    checkpoint: str, transformer: Config, controlnet: Config, text_tokens: int
) -> None:
    with torch.device("meta"):
        networks = FluxTransformer2DModel(**transformer), FluxControlNetModel(**controlnet)
        channels = transformer["in_channels"]
        options = {
            "hidden_states": torch.empty(1, 4096, channels),
            "timestep": torch.empty(1),
            "guidance": torch.empty(1),
            "pooled_projections": torch.empty(1, transformer["pooled_projection_dim"]),
            "encoder_hidden_states": torch.empty(
                1, text_tokens, transformer["joint_attention_dim"]
            ),
            "txt_ids": torch.empty(text_tokens, 3),
            "img_ids": torch.empty(4096, 3),
        }
        control = {
            "controlnet_cond": torch.empty(1, 4096, channels),
            "controlnet_mode": torch.ones(1, 1, dtype=torch.long),
        }
        counts = []
        for network, more in zip(networks, ({}, control), strict=True):
            with FlopCounterMode(display=False) as counter:
                network(**options, **more)
            counts.append(counter.get_total_flops())
    assert module.CONTROL_SHARES[checkpoint] == pytest.approx(counts[1] / counts[0], abs=0.005)


def test_one_control_is_inside_the_price_of_an_evaluation() -> None:
    for checkpoint in CHECKPOINT_NAMES:
        for control in (Control("canny"), Control("canny", 1.0, 0.0, 1.0), Control("canny", 0.0)):
            assert control_factor(checkpoint, [control]) == 1


@pytest.mark.parametrize(
    ("controls", "factor"),
    [
        ([], 1.0),
        ([Control("canny"), Control("pose")], 1.14),
        ([Control("canny", 0.5, 0.0, 1.0), Control("pose")], 1.14),
        ([Control("canny", 0.5, 0.0, 1.0)] * 3, 1.56),
        ([Control("canny", 0.5, 0.0, 0.5), Control("pose", 0.5, 0.5, 1.0)], 1.14),
        ([Control("canny", 0.5, 0.0, 0.5), Control("pose", 0.5, 0.75, 1.0)], 1.07),
        ([Control("canny", 0.5, 0.0, 1.0), Control("pose", 0.0, 0.0, 1.0)], 1.0),
        ([Control("canny", 0.0), Control("pose", 0.0)], 1.0),
    ],
)
def test_further_controls_cost_their_share_in_their_windows(
    controls: list[Control], factor: float
) -> None:
    for ordered in itertools.permutations(controls):
        assert control_factor(FLUX, ordered) == pytest.approx(factor)


def test_a_load_counts_evaluations_the_controlnet_and_the_rest_of_each_picture() -> None:
    controls = [Control("canny", 0.5, 0.0, 0.5), Control("pose", 0.0, 0.0, 1.0)]
    load = gpu_load("demo", (1024, 1024), 20, 2, controls)
    assert load.total == pytest.approx(2 * (20 * 1.006 * (1 + 0.68 * 0.5) + 8))
    small = gpu_load("demo", (64, 64), 20, 1, ())
    relative = relative_cost("demo", (64, 64))
    assert small.total == pytest.approx(20 * (relative + 0.006) + 8 * relative)


def test_the_done_share_of_a_load_follows_its_steps() -> None:
    load = gpu_load(FLUX, (1024, 1024), 20, 2, [Control("canny", 0.5, 0.25, 0.5)])
    evaluation, control, rest = 1.02, 1.02 * 0.28, 0.4
    steps = {
        0: 0.0,
        5: 5 * evaluation,
        10: 10 * evaluation + 5 * control,
        15: 15 * evaluation + 5 * control,
        20: 20 * evaluation + 5 * control,  # the rest of the first picture comes next
        21: 21 * evaluation + 5 * control + rest,
        30: 30 * evaluation + 10 * control + rest,
        40: 40 * evaluation + 10 * control + rest,  # its rest is not done
    }
    for step, done in steps.items():
        assert load.done(step, 40) * load.total == pytest.approx(done), step

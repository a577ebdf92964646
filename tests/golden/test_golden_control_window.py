"""How many model evaluations the ControlNet takes part in, against the reference's counts."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from models.sampling import SAMPLERS, SCHEDULES, control_active, sigmas_for
from models.sampling.analytic import GaussianMixture
from tests.golden.golden_files import load

COUNTS = load("controlnet")["counts_current"]
DATA = load("samplers_public")
SHAPE = DATA["latent_shape"]
MIXTURE = GaussianMixture(*(torch.tensor(DATA["prior"][k]) for k in ("weights", "means", "stds")))
NOISE = torch.tensor(DATA["noise_bank"]).reshape(-1, *SHAPE)
PLAIN = "@basic_scheduler"


@cache
def model_sigmas(name: str, schedule: str, steps: int) -> list[Tensor]:
    """The sigmas at which a float32 run asks the model; `name` may be marked for a plain list."""
    sampler = name.removesuffix(PLAIN)
    sigmas = sigmas_for(schedule, steps, sampler=None if name.endswith(PLAIN) else sampler)
    asked: list[Tensor] = []
    drawn = iter(range(10_000))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(sigma)
        return MIXTURE(x, sigma)

    def noise(_sigma: Tensor, _sigma_next: Tensor) -> Tensor:
        return NOISE[next(drawn) % len(NOISE)]

    x = sigmas[0] * torch.tensor(DATA["init_noise"]).reshape(SHAPE)
    SAMPLERS[sampler](denoise, x, sigmas, noise=noise)
    return asked


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [15, 20, 28, 50])
@pytest.mark.parametrize("cn_stop", ["0.25", "0.5", "0.75"])
def test_controlled_evaluations(cn_stop: str, steps: int, schedule: str) -> None:
    counts = COUNTS[cn_stop][str(steps)][schedule]
    assert {name.removesuffix(PLAIN) for name in counts} == set(SAMPLERS)
    found = {}
    for name in counts:
        asked = model_sigmas(name, schedule, steps)
        found[name] = [sum(control_active(s, float(cn_stop)) for s in asked), len(asked)]
    assert found == counts

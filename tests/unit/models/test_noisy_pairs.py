"""The table of noisy pairs against a measurement on a model whose data are known exactly."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from models.noisy_pairs import is_noisy, quiet_schedules
from models.sampling import SAMPLERS, sigmas_for
from models.sampling.analytic import GaussianMixture
from models.spec import SAMPLER_NAMES, SCHEDULE_NAMES

pytestmark = pytest.mark.torch

PICTURES, STEPS = 512, 20
COARSE, DETAIL = slice(0, 8), slice(8, 16)
TEXTURE = 0.03
"""The data's standard deviation in the dimensions of DETAIL. More than that is noise."""


@cache
def mixture() -> GaussianMixture:
    mixed = GaussianMixture.random(5, components=4, dimensions=16)
    means, stds = mixed.means.clone(), mixed.stds.clone()
    means[:, DETAIL], stds[:, DETAIL] = 0.0, TEXTURE
    return GaussianMixture(mixed.weights, means, stds).to(torch.float32)


@cache
def measured(sampler: str, schedule: str) -> tuple[float, float]:
    """Of many pictures: the noise in the detail, and the second moment of the rest."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((PICTURES, 16), generator=torch.Generator().manual_seed(2))

    def more_noise(sigma: Tensor, sigma_next: Tensor) -> Tensor:  # noqa: ARG001 - the protocol
        return torch.randn(noise.shape, generator=generator)

    sigmas = sigmas_for(schedule, STEPS, sampler=sampler)
    final = SAMPLERS[sampler](mixture(), sigmas[0] * noise, sigmas, noise=more_noise).double()
    excess = final[:, DETAIL].var() - TEXTURE**2
    return float(excess.clamp(min=0).sqrt()), float(final[:, COARSE].square().mean())


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_the_table_has_the_pairs_that_leave_noise(sampler: str) -> None:
    """Noise in the detail, or a sampler that is far more off than with the plain schedule."""
    _, usual = measured(sampler, "simple")
    noisy = {
        schedule
        for schedule in SCHEDULE_NAMES
        if measured(sampler, schedule)[0] > 0.03 or measured(sampler, schedule)[1] > 1.4 * usual
    }
    assert noisy == {schedule for schedule in SCHEDULE_NAMES if is_noisy(sampler, schedule)}
    assert noisy.isdisjoint(quiet_schedules(sampler))
    assert noisy | set(quiet_schedules(sampler)) == set(SCHEDULE_NAMES)


def test_the_default_pair_leaves_no_noise() -> None:
    assert not is_noisy("euler", "simple")
    assert not is_noisy("unknown", "simple")

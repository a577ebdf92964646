"""Samplers report errors: missing noise, NaN, very few steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.sampling import CATALOGUE, SAMPLERS, sigmas_for
from models.sampling.analytic import GaussianMixture

pytestmark = pytest.mark.torch

MODEL = GaussianMixture.random(1)
X = torch.full((1, 4), 0.5, dtype=torch.float64)


def zero_noise(_sigma: Tensor, _sigma_next: Tensor) -> Tensor:
    return torch.zeros_like(X)


@pytest.mark.parametrize("name", [name for name, info in CATALOGUE.items() if info.stochastic])
def test_a_stochastic_sampler_without_noise_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="needs noise"):
        SAMPLERS[name](MODEL, X, sigmas_for("simple", 4))


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "dpm_adaptive"])
@pytest.mark.parametrize("bad_call", [1, 5, 12])
def test_nan_is_passed_on(name: str, bad_call: int) -> None:
    calls = 0

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.full_like(x, torch.nan) if calls == bad_call else MODEL(x, sigma)

    final = SAMPLERS[name](denoise, X, sigmas_for("simple", 12, sampler=name), noise=zero_noise)
    assert torch.isnan(final).all()


def test_dpm_adaptive_stops_at_nan() -> None:
    with pytest.raises(FloatingPointError, match="not finite"):
        SAMPLERS["dpm_adaptive"](
            lambda x, _sigma: torch.full_like(x, torch.nan),
            X,
            sigmas_for("simple", 12),
        )


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_few_steps(name: str, steps: int) -> None:
    sigmas = sigmas_for("simple", steps, sampler=name)
    final = SAMPLERS[name](MODEL, X, sigmas, noise=zero_noise)
    assert torch.isfinite(final).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_does_not_change_its_arguments(name: str) -> None:
    x, sigmas = X.clone(), sigmas_for("simple", 6, sampler=name)
    kept = sigmas.clone()
    SAMPLERS[name](MODEL, x, sigmas, noise=zero_noise)
    assert torch.equal(x, X)
    assert torch.equal(sigmas, kept)

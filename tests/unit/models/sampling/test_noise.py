"""The noise of each sampler, and its dependence on the seed."""

from __future__ import annotations

import pytest
import torch

from models.sampling import (
    CATALOGUE,
    BrownianNoise,
    IndependentNoise,
    initial_noise,
    noise_for,
    sigmas_for,
)

pytestmark = pytest.mark.torch

X = torch.zeros(1, 16, 8, 8)
HIGH, LOW = torch.tensor(0.9), torch.tensor(0.4)


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_sampler_gets_its_kind(name: str) -> None:
    noise = noise_for(name, 7, X, sigmas_for("simple", 20, sampler=name))
    brownian = "_sde" in name
    expected = {"none": type(None), "independent": IndependentNoise, "brownian": BrownianNoise}
    assert isinstance(noise, expected[CATALOGUE[name].noise])
    assert isinstance(noise, BrownianNoise) == brownian


def test_unknown_sampler() -> None:
    with pytest.raises(ValueError, match="one of: euler,"):
        noise_for("eular", 7, X, sigmas_for("simple", 20))


def test_initial_noise_is_the_plain_float32_draw_of_its_seed() -> None:
    torch.manual_seed(1234)
    assert torch.equal(initial_noise(1234, X.shape), torch.randn(X.shape))


def test_independent_noise_does_not_repeat_the_initial_noise() -> None:
    noise = IndependentNoise(7, X)
    draws = [initial_noise(7, X.shape), noise(HIGH, LOW), noise(HIGH, LOW)]
    assert not any(torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    assert torch.equal(draws[1], initial_noise(8, X.shape))


@pytest.mark.parametrize("name", ["lcm", "dpmpp_sde"])
def test_noise_takes_the_dtype_of_the_latents_and_the_values_of_float32(name: str) -> None:
    sigmas = sigmas_for("simple", 20)
    single, double = (noise_for(name, 2**63 - 1, x, sigmas) for x in (X, X.double()))
    assert single is not None
    assert double is not None
    wide = double(HIGH, LOW)
    assert wide.dtype == torch.float64
    assert torch.equal(wide, single(HIGH, LOW).double())


def test_no_global_random_state_is_used_or_changed() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for name in ("lcm", "dpmpp_2m_sde"):
        noise = noise_for(name, 5, X, sigmas_for("simple", 20))
        assert noise is not None
        noise(HIGH, LOW)
    initial_noise(5, X.shape)
    assert torch.equal(torch.rand(3), expected)

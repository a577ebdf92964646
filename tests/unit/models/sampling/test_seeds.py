"""What a seed draws, in numbers: a change of any of them changes every picture that users have kept
a seed of. Recorded from this code; CPUs with other vector units differ in the sixth digit.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.sampling import (
    CATALOGUE,
    SAMPLERS,
    BrownianNoise,
    IndependentNoise,
    initial_noise,
    noise_for,
    sigmas_for,
)

pytestmark = pytest.mark.torch

SEED = 7
X = torch.zeros(1, 16, 8, 8)

FIRST_DRAW = (-0.820135, 0.395631, 0.898908, -1.388404)
INDEPENDENT_DRAWS = (
    (-1.189202, 1.393235, 2.105898, -0.354567),
    (0.019799, 0.354840, -0.339126, 0.119003),
    (0.472757, 1.811112, 0.200043, 1.551617),
)
BROWNIAN_DRAWS = {
    (0.9, 0.7): (0.025347, -0.664638, 0.114359, -0.472622),
    (0.7, 0.4): (0.333540, 0.492939, 0.788419, -1.803236),
    (0.4, 0.1): (-0.656614, 0.962899, 0.285593, -0.585337),
    (0.9, 0.1): (-0.185168, 0.559196, 0.714875, -1.699008),
}
LATENTS = {
    "euler_ancestral": (-0.096173, 1.190488, 0.469740, 0.498483),
    "euler_ancestral_cfg_pp": (0.103805, 1.094347, 0.221983, 0.725752),
    "dpm_2_ancestral": (-0.111452, 0.905364, 0.398818, 0.330547),
    "dpmpp_2s_ancestral": (-0.203004, 1.327536, 0.613178, 0.435201),
    "dpmpp_2s_ancestral_cfg_pp": (-0.296996, 1.136501, 0.638384, 0.081472),
    "dpmpp_sde": (-0.142540, 0.343344, 0.418983, -0.999157),
    "dpmpp_sde_gpu": (-0.142540, 0.343344, 0.418983, -0.999157),
    "dpmpp_2m_sde": (-0.284020, 0.458046, 0.441246, -1.040109),
    "dpmpp_2m_sde_gpu": (-0.284020, 0.458046, 0.441246, -1.040109),
    "dpmpp_3m_sde": (-0.327231, 0.479579, 0.489241, -1.096310),
    "dpmpp_3m_sde_gpu": (-0.327231, 0.479579, 0.489241, -1.096310),
    "ddpm": (-0.358857, 1.171678, 0.720917, -0.003260),
    "lcm": (0.233404, 0.959085, 0.063099, 0.789430),
}
"""Of four steps of the simple schedule on a model of standard Gaussian data."""

DIGITS = 2e-5
STOCHASTIC = [name for name, info in CATALOGUE.items() if info.stochastic]


def at(sigma: float) -> Tensor:
    return torch.tensor(sigma, dtype=torch.float64)


def first(values: Tensor) -> list[float]:
    return values.flatten()[:4].tolist()


def test_the_initial_noise_of_a_seed() -> None:
    assert first(initial_noise(SEED, X.shape)) == pytest.approx(FIRST_DRAW, abs=DIGITS)


def test_the_independent_noise_of_a_seed() -> None:
    noise = IndependentNoise(SEED, X)
    for expected in INDEPENDENT_DRAWS:
        assert first(noise(at(0.9), at(0.1))) == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize(("interval", "expected"), BROWNIAN_DRAWS.items())
def test_the_brownian_noise_of_a_seed(
    interval: tuple[float, float], expected: tuple[float, ...]
) -> None:
    noise = BrownianNoise(SEED, X, 0.1, 0.9)
    for _ in range(2):  # asked twice, it is the same
        assert first(noise(at(interval[0]), at(interval[1]))) == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize("middle", [0.89, 0.6, 0.100001])
def test_the_brownian_noise_of_an_interval_is_that_of_its_two_parts(middle: float) -> None:
    """Increments add up; each is scaled to unit variance by the root of its length."""
    noise = BrownianNoise(SEED, X, 0.1, 0.9)
    upper = noise(at(0.9), at(middle)) * math.sqrt(0.9 - middle)
    lower = noise(at(middle), at(0.1)) * math.sqrt(middle - 0.1)
    whole = noise(at(0.9), at(0.1)) * math.sqrt(0.9 - 0.1)
    assert torch.allclose(upper + lower, whole, atol=1e-5)


def test_brownian_noise_is_known_at_multiples_of_a_millionth() -> None:
    noise = BrownianNoise(SEED, X, 0.1, 0.9)
    asked = noise(at(0.7), at(0.4))
    assert torch.equal(noise(at(0.7 + 4e-7), at(0.4 - 4e-7)), asked)
    assert not torch.equal(noise(at(0.7 + 6e-7), at(0.4)), asked)
    assert not torch.equal(noise(at(0.7), at(0.4 - 6e-7)), asked)


def test_brownian_noise_spans_the_list_of_the_sampler() -> None:
    """From the first sigma to the last above zero; the numbers depend on these ends."""
    sigmas = torch.tensor([0.9, 0.4, 0.1, 0.0])
    noise = noise_for("dpmpp_2m_sde", SEED, X, sigmas)
    assert noise is not None
    expected = BROWNIAN_DRAWS[0.7, 0.4]
    assert first(noise(at(0.7), at(0.4))) == pytest.approx(expected, abs=DIGITS)


def standard_gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """The best prediction where clean data are standard Gaussian."""
    signal = 1 - sigma
    return x * (signal / (signal**2 + sigma**2))


def test_every_stochastic_sampler_is_pinned() -> None:
    assert list(LATENTS) == STOCHASTIC
    assert len(STOCHASTIC) == 13


@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_latents_of_a_seed(name: str) -> None:
    sigmas = sigmas_for("simple", 4, sampler=name)
    x = sigmas[0] * initial_noise(SEED, X.shape)
    noise = noise_for(name, SEED, x, sigmas)
    final = SAMPLERS[name](standard_gaussian, x, sigmas, noise=noise)
    assert first(final) == pytest.approx(LATENTS[name], abs=DIGITS)


class DrawsOnDevices(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types
    """Notes the device of every tensor that is filled with random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.devices: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        made = func(*args, **(kwargs or {}))
        if "randn" in str(func) or "normal" in str(func):
            self.devices.append(made.device.type)
        return made


@pytest.mark.parametrize("name", ["lcm", "dpmpp_2m_sde"])
def test_noise_is_drawn_on_the_cpu_whatever_device_the_latents_are_on(name: str) -> None:
    """Seen with latents on the meta device, which every machine has."""
    x = X.to("meta")
    with DrawsOnDevices() as draws:
        noise = noise_for(name, SEED, x, torch.tensor([0.9, 0.4, 0.1, 0.0]))
        assert noise is not None
        made = noise(at(0.7), at(0.4))
    assert made.device.type == "meta"
    assert draws.devices
    assert set(draws.devices) == {"cpu"}

"""Random numbers by seed: the initial noise, independent draws, and Brownian paths.

All are drawn in float32 on the CPU, so that a seed means one picture on every device. One object
serves one picture; its place in the stream is an integer or nothing at all, so a run can resume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torchsde
from torch import Tensor

from models.catalogue import NoiseKind, info_of


def initial_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """The noise a picture starts from: float32 on the CPU, unit Gaussian, by the picture's seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


class IndependentNoise:
    """A fresh unit Gaussian like `x` for every call, from a generator seeded seed + 1.

    `drawn` counts the calls; an object made with drawn=k continues where k calls have been made.
    """

    def __init__(self, seed: int, x: Tensor, drawn: int = 0) -> None:
        # seed itself makes the initial noise, which must not come back in a step.
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._shape, self._dtype, self._device = x.shape, x.dtype, x.device
        self.drawn = 0
        for _ in range(drawn):
            self._draw()

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:  # noqa: ARG002 - the protocol
        return _sent(self._draw(), self._device).to(self._dtype)

    def _draw(self) -> Tensor:
        self.drawn += 1
        return torch.randn(self._shape, generator=self._generator, dtype=torch.float32)


class BrownianNoise:
    """Increments, scaled to unit variance, of one Brownian path in sigma over [lowest, highest].

    A pure function of (seed, interval): the same question has the same answer in any order, so
    nothing needs saving. Noise of disjoint intervals is independent; of overlapping ones (a, b)
    and (a, c) it is correlated by sqrt((a - b) / (a - c)), as dpmpp_sde expects. The path is
    known at multiples of 1e-6; the smallest step of any schedule is far longer than that.
    """

    _DIGITS = 6

    def __init__(self, seed: int, x: Tensor, lowest: float, highest: float) -> None:
        self._dtype, self._device = x.dtype, x.device
        start = torch.zeros(x.shape, dtype=torch.float32)
        span = round(lowest, self._DIGITS), round(highest, self._DIGITS)
        self._path = torchsde.BrownianTree(
            span[0], start, span[1], entropy=seed, tol=10**-self._DIGITS
        )

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        # Rounded here, not in the tree, so that the scale is that of the interval really used.
        high, low = round(float(sigma), self._DIGITS), round(float(sigma_next), self._DIGITS)
        # The path runs upwards from the lowest sigma, the sampler downwards: hence the sign.
        increment: Tensor = self._path(low, high)
        unit = -increment / math.sqrt(high - low)
        return _sent(unit, self._device).to(self._dtype)


def _sent(noise: Tensor, device: torch.device) -> Tensor:
    """`noise` on the device, without waiting for what the device still has to do."""
    if device.type == "cuda":
        return noise.pin_memory().to(device, non_blocking=True)
    return noise.to(device)


def noise_for(
    sampler: str, seed: int, x: Tensor, sigmas: Tensor
) -> IndependentNoise | BrownianNoise | None:
    """The noise of one picture for a canonical sampler name; None if the sampler needs none.

    x: the latents the sampler will be given (for shape, dtype and device). sigmas: its list.
    """
    kind = info_of(sampler).noise
    if kind is NoiseKind.INDEPENDENT:
        return IndependentNoise(seed, x)
    if kind is NoiseKind.BROWNIAN:
        positive = sigmas[sigmas > 0]
        return BrownianNoise(seed, x, float(positive.min()), float(positive.max()))
    return None

"""Random numbers by seed: the initial noise, independent draws, and Brownian paths.

All are drawn in float32 on the CPU, so that a seed gives the same picture on every device. One
object serves one picture. Its position in the stream is an integer or absent, so a run can resume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torchsde
from torch import Tensor

from models.catalogue import NoiseKind, info_of


def initial_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """The initial noise of a picture: float32 on the CPU, unit Gaussian, from its seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


class IndependentNoise:
    """A new unit Gaussian shaped like `x` for every call, from a generator with seed + 1.

    `drawn` counts the calls; an object made with drawn=k continues after k calls.
    """

    def __init__(self, seed: int, x: Tensor, drawn: int = 0) -> None:
        # `seed` itself makes the initial noise, which must not repeat in a step.
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._shape, self._dtype, self._device = x.shape, x.dtype, x.device
        self.drawn = 0
        for _ in range(drawn):
            self._draw()

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:  # noqa: ARG002 - the protocol
        return _on_device(self._draw(), self._device).to(self._dtype)

    def _draw(self) -> Tensor:
        self.drawn += 1
        return torch.randn(self._shape, generator=self._generator, dtype=torch.float32)


class BrownianNoise:
    """Increments, scaled to unit variance, of one Brownian path in sigma over [lowest, highest].

    A pure function of (seed, interval), in any order of calls, so it has no state to save. Noise
    of disjoint intervals is independent; of overlapping ones (a, b) and (a, c) it is correlated by
    sqrt((a - b) / (a - c)), as dpmpp_sde expects. The resolution of the path is 1e-6; the smallest
    step of any schedule is far longer.
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
        # Round here, not in the tree, so that the scale matches the interval that is used.
        high, low = round(float(sigma), self._DIGITS), round(float(sigma_next), self._DIGITS)
        # The path runs from the lowest sigma upwards, the sampler downwards: hence the sign.
        increment: Tensor = self._path(low, high)
        unit = -increment / math.sqrt(high - low)
        return _on_device(unit, self._device).to(self._dtype)


def _on_device(noise: Tensor, device: torch.device) -> Tensor:
    """`noise` copied to the device through pinned memory, without waiting for queued work."""
    if device.type == "cuda":
        return noise.pin_memory().to(device, non_blocking=True)
    return noise.to(device)


def noise_for(
    sampler: str, seed: int, x: Tensor, sigmas: Tensor
) -> IndependentNoise | BrownianNoise | None:
    """The noise of one picture for a canonical sampler name; None if the sampler needs none.

    x: the sampler's initial latents (for shape, dtype and device). sigmas: its sigma list.
    """
    kind = info_of(sampler).noise
    if kind is NoiseKind.INDEPENDENT:
        return IndependentNoise(seed, x)
    if kind is NoiseKind.BROWNIAN:
        positive = sigmas[sigmas > 0]
        return BrownianNoise(seed, x, float(positive.min()), float(positive.max()))
    return None

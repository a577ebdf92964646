"""The arithmetic of a rectified flow: shifted times, noise-to-signal ratios, noise splits.

A latent at level sigma is x = (1 - sigma) * x0 + sigma * n, sigma in 0..1. Everything here is
float64 arithmetic on Python floats; it knows neither tensors nor samplers.
"""

from __future__ import annotations

import math
from array import array
from typing import NamedTuple

from models.spec import DEFAULT_MU


def shifted(time: float, mu: float) -> float:
    """Sigma of the unshifted time 0 < time <= 1: e^mu / (e^mu + 1/time - 1)."""
    return math.exp(mu) / (math.exp(mu) + (1.0 / time - 1.0))


def percent_to_sigma(percent: float, mu: float = DEFAULT_MU) -> float:
    """P(percent): the sigma at which `percent` (0..1) of the unshifted time has passed.

    P(0) = 1 and P(1) = 0; values outside 0..1 are clamped.
    """
    if percent <= 0.0:
        return 1.0
    if percent >= 1.0:
        return 0.0
    return shifted(1.0 - percent, mu)


def single(number: float) -> float:
    """`number` rounded to float32."""
    return array("f", [number])[0]


def noise_to_signal(sigma: float) -> float:
    """sigma / (1 - sigma) = e^-lambda, lambda the log signal-to-noise ratio; infinite at 1."""
    return math.inf if sigma >= 1.0 else sigma / (1.0 - sigma)


def from_noise_to_signal(ratio: float) -> float:
    """The sigma whose noise-to-signal ratio is `ratio` (finite, >= 0)."""
    return ratio / (1.0 + ratio)


class FlowSplit(NamedTuple):
    """A step s -> s' as: deterministic to `down`, times `scale`, plus `up` * fresh noise."""

    down: float
    scale: float
    up: float


def flow_split(sigma: float, sigma_next: float) -> FlowSplit:
    """The ancestral split (eta = 1) of a rectified flow.

    At `down` the signal is too strong by (1 - down) / (1 - sigma_next): `scale` reduces it, and
    `up` adds noise up to sigma_next.
    """
    down = sigma_next**2 / sigma
    scale = (1.0 - sigma_next) / (1.0 - down)
    up = math.sqrt(max(0.0, sigma_next**2 - (down * scale) ** 2))
    return FlowSplit(down, scale, up)


class RatioSplit(NamedTuple):
    """A step of a pure noise level as: deterministic to `down`, plus `up` * fresh noise."""

    down: float
    up: float


def ratio_split(level: float, level_next: float) -> RatioSplit:
    """The ancestral split (eta = 1) where the signal is never scaled: down^2 + up^2 = next^2.

    An infinite `level` (sigma = 1 as noise-to-signal ratio) renews all noise.
    """
    if math.isinf(level):
        return RatioSplit(0.0, level_next)
    up = level_next * math.sqrt(max(0.0, 1.0 - (level_next / level) ** 2))
    return RatioSplit(level_next**2 / level, up)

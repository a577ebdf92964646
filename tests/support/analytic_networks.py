"""Networks with a closed-form result, for a real ControlledDenoiser without weights.

They make tests of the code around the model take milliseconds.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from models.denoiser import ControlledDenoiser, WindowedControl


class Gaussian:
    """Stands where the Transformer stands: the velocity where clean data are standard Gaussian,
    moved by what the ControlNet adds. Counts its calls."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.text = torch.zeros(1, dtype=dtype)
        self.sigmas: list[float] = []

    def __call__(self, tokens: Tensor, sigma: float, residuals: Tensor | None) -> Tensor:
        self.sigmas.append(sigma)
        signal = 1 - sigma
        velocity = tokens * (1 - signal / (signal**2 + sigma**2)) / sigma
        return velocity if residuals is None else velocity + residuals


class Pull:
    """Stands where the ControlNet stands."""

    def __call__(self, tokens: Tensor, sigma: float, onto: Tensor | None) -> Tensor:
        pull = 0.1 * sigma * torch.cos(tokens)
        return pull if onto is None else onto + pull


def analytic_denoiser(model: Gaussian, stop: float = 0.5, mu: float = 1.15) -> ControlledDenoiser:
    """The real ControlledDenoiser around `model` and Pull."""
    return ControlledDenoiser(cast(Any, model), [WindowedControl(cast(Any, Pull()), stop)], mu)

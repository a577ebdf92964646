"""FLUX with its ControlNet as one function, denoise(x, sigma) -> x0.

Owns the model call: packing, the control windows, the sum of several controls, and the count of
evaluations. Knows no sampler and no schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.flux.networks import ControlNet, Transformer
from models.sampling import Flow, control_active


@dataclass(frozen=True, slots=True)
class WindowedControl:
    """A ControlNet with its control map, and its window: the arguments of control_active."""

    controlnet: ControlNet
    stop: float
    start: float = 0.0


class ControlledDenoiser(Flow):
    """denoise(x, sigma) -> x0 and its velocity, for the pictures of one request. Counts the model
    evaluations, and the runs of the ControlNet: one for each control in whose window one lies.

    x: [1, channels, H/8, W/8] in the sampler's dtype; only the input of the model is cast.
    """

    def __init__(
        self, transformer: Transformer, controls: Sequence[WindowedControl], mu: float
    ) -> None:
        """controls: those of a strength above 0; their residuals are added in this order. mu: the
        argument of control_active."""
        self._transformer, self._controls = transformer, tuple(controls)
        self._mu = mu
        self._dtype = transformer.text.dtype
        self.evaluations = 0
        self.controlled = 0

    def controls(self, sigma: float) -> tuple[int, ...]:
        """The indices of the controls that an evaluation at sigma runs."""
        return tuple(
            index
            for index, control in enumerate(self._controls)
            if control_active(sigma, control.stop, self._mu, control.start)
        )

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity dx/dsigma at x, in x's dtype."""
        tokens = pack(x.to(self._dtype))
        residuals = None
        for index in self.controls(sigma):
            residuals = self._controls[index].controlnet(tokens, sigma, residuals)
        velocity = self._transformer(tokens, sigma, residuals)
        self.count(sigma)
        return unpack(velocity, *x.shape[-2:]).to(x.dtype)

    def count(self, sigma: float) -> None:
        """Count an evaluation at sigma, made by this run or an earlier one."""
        self.evaluations += 1
        self.controlled += len(self.controls(sigma))


def image_ids(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[H/2 * W/2, 3]: 0, row and column of each token of latents H x W (black-forest-labs/flux)."""
    rows = torch.arange(height // 2, device=device)
    columns = torch.arange(width // 2, device=device)
    places = torch.cartesian_prod(torch.zeros(1, device=device, dtype=rows.dtype), rows, columns)
    return places.to(dtype)


def pack(latents: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H/2 * W/2, C * 4]: one token a 2x2 patch (black-forest-labs/flux)."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of pack for latents of height x width."""
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, height, width)

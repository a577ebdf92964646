"""FLUX with its ControlNet as one function, denoise(x, sigma) -> x0.

Owns the model call: packing, the control window, and the count of evaluations. Knows no sampler and
no schedule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.flux.networks import ControlNet, Transformer
from models.sampling import Flow, control_active


class ControlledDenoiser(Flow):
    """denoise(x, sigma) -> x0 and its velocity, for the pictures of one request. Counts the model
    evaluations, and how many of them ran the ControlNet.

    x: [1, channels, H/8, W/8] in the sampler's dtype; only the input of the model is cast.
    `controlnet` is None if the strength is 0.
    """

    def __init__(
        self,
        transformer: Transformer,
        controlnet: ControlNet | None,
        stop: float,
        mu: float,
    ) -> None:
        """stop, mu: the arguments of control_active."""
        self._transformer, self._controlnet = transformer, controlnet
        self._stop, self._mu = stop, mu
        self._dtype = transformer.text.dtype
        self.evaluations = 0
        self.controlled = 0

    def controls(self, sigma: float) -> bool:
        """Whether an evaluation at sigma is in the control window and so runs the ControlNet."""
        return self._controlnet is not None and control_active(sigma, self._stop, self._mu)

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity dx/dsigma at x, in x's dtype."""
        tokens = pack(x.to(self._dtype))
        residuals = None
        if self._controlnet is not None and self.controls(sigma):
            residuals = self._controlnet(tokens, sigma)
        velocity = self._transformer(tokens, sigma, residuals)
        self.count(sigma)
        return unpack(velocity, *x.shape[-2:]).to(x.dtype)

    def count(self, sigma: float) -> None:
        """Count an evaluation at sigma, made by this run or an earlier one."""
        self.evaluations += 1
        self.controlled += self.controls(sigma)


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

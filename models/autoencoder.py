"""Owns the conversion of pixels to latents and back through FLUX's autoencoder.

This includes the pixel arithmetic, tiling and the cache of encoded control maps. Only 8-bit pixels
travel between host and device. Knows no ControlNet.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.cache import TensorCache, Tensors
from models.denoiser import pack

LATENT_SCALE = 8
TILE = 1024
"""Side of a tile in pixels: what FLUX's autoencoder was trained on."""

# diffusers' VaeImageProcessor as a table: 0..255 -> -1..1, rounded as on the host. The device would
# multiply by a reciprocal instead of dividing, which differs in the last bit.
_PIXEL_VALUES = 2.0 * (torch.arange(256, dtype=torch.float32) / 255.0) - 1.0


class Autoencoder:
    """An AutoencoderKL with a cache of encoded control maps.

    tile_above: pictures with more pixels are coded in overlapping tiles of 1024x1024, blended over
    a quarter of their sides. Tiling bounds the memory and changes pixels near the seams.
    """

    def __init__(self, vae: Any, cache: TensorCache, tile_above: int) -> None:
        self._vae, self._cache, self._tile_above = vae, cache, tile_above
        self.channels: int = vae.config.latent_channels
        self._values = _PIXEL_VALUES.to(vae.device)
        vae.tile_sample_min_size = TILE
        vae.tile_latent_min_size = TILE // LATENT_SCALE

    def encode(self, picture: Image.Image) -> Tensor:
        """Packed latents of an RGB picture, [1, tokens, 4 * channels]. The result is cached.

        Uses the mean of the posterior, not a sample from it, so that a map gives the same control
        for every seed and every picture.
        """
        content = picture.size, hashlib.sha256(picture.tobytes()).digest()
        (latents,) = self._cache.get(content, lambda: self._encode(picture))
        return latents

    def _encode(self, picture: Image.Image) -> Tensors:
        vae = self._vae
        self._choose_tiling(picture.width * picture.height)
        posterior = vae.encode(self._pixels(picture).to(vae.dtype)).latent_dist
        latents = (posterior.mode() - vae.config.shift_factor) * vae.config.scaling_factor
        return (pack(latents),)

    def _pixels(self, picture: Image.Image) -> Tensor:
        """[1, 3, H, W] in -1..1, float32 on the device."""
        levels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy())
        if self._values.is_cuda:
            levels = levels.pin_memory()
        levels = levels.to(self._values.device, non_blocking=True).permute(2, 0, 1).unsqueeze(0)
        # Contiguous, as in diffusers' pipeline: another layout sums in another order.
        return self._values[levels.long()].contiguous()

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """[1, channels, H/8, W/8] to uint8 [H, W, 3], scaled and rounded on the device."""
        vae = self._vae
        height, width = latents.shape[-2:]
        self._choose_tiling(height * width * LATENT_SCALE**2)
        scaled = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        decoded = vae.decode(scaled, return_dict=False)[0]
        unit = (decoded.float() * 0.5 + 0.5).clamp(0, 1)
        levels = (unit * 255).round().to(torch.uint8)[0].permute(1, 2, 0)
        pixels: NDArray[np.uint8] = levels.cpu().numpy()
        return pixels

    def _choose_tiling(self, pixels: int) -> None:
        self._vae.use_tiling = pixels > self._tile_above

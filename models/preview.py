"""Previews: the model's prediction during a generation as a small picture.

Owns the matrix from latents to colours, fitted to the checkpoint's autoencoder by least squares.
Decoding would cost as much as several steps. A preview never makes the host wait for the device:
the device multiplies by the matrix and copies the bytes when it gets there. Knows no sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from models.autoencoder import LATENT_SCALE, Autoencoder
from models.denoiser import unpack

LONGER_SIDE = 128
"""The longer side of a preview is at most this, in pixels."""

_FITTED_SIDE = 512
_PATCHES = (2, 8, 32)
"""Patches per side of the layers of random colours that the fitted picture is the sum of."""


@dataclass(frozen=True, slots=True)
class PendingPreview:
    """A preview that the device may still be computing. levels: uint8 [h, w, 3] on the host.
    copied: the event after which they are valid; None for at once."""

    levels: Tensor
    copied: torch.cuda.Event | None

    def picture(self) -> Image.Image:
        """The RGB picture, scaled down to LONGER_SIDE if larger. Waits for the device; any thread
        may call it."""
        if self.copied is not None:
            self.copied.synchronize()
        picture = Image.fromarray(self.levels.numpy())
        picture.thumbnail((LONGER_SIDE, LONGER_SIDE))
        return picture


class Preview:
    """Previews for one checkpoint. The first call fits the matrix, which waits for the device."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._autoencoder = autoencoder
        self._colours: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, latents: Tensor) -> PendingPreview:
        """The preview of latents [1, C, h, w] (clean, or predicted), with w x h pixels before it is
        scaled down. Queues the work; the latents may change afterwards."""
        if self._colours is None:
            self._colours = _fit(self._autoencoder).to(latents.device)
        colours = _with_ones(latents.float()) @ self._colours
        height, width = latents.shape[-2:]
        # models.finite reports NaN and infinity; a preview ignores them.
        levels = (
            colours.nan_to_num().clamp(0, 255).round().to(torch.uint8).reshape(height, width, 3)
        )
        if latents.device.type != "cuda":
            return PendingPreview(levels, None)
        on_host = levels.to("cpu", non_blocking=True)  # into pinned memory, or it would wait
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(latents.device))
        return PendingPreview(on_host, event)


def _fit(autoencoder: Autoencoder) -> Tensor:
    """The matrix [C + 1, 3] from latents with a constant 1 to levels in 0..255."""
    picture = _patchwork()
    side = _FITTED_SIDE // LATENT_SCALE
    latents = unpack(autoencoder.encode(picture), side, side).to("cpu", torch.float32)
    levels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float()
    targets = functional.avg_pool2d(levels, LATENT_SCALE).flatten(1).T
    fitted: Tensor = torch.linalg.lstsq(_with_ones(latents), targets).solution
    return fitted


def _with_ones(latents: Tensor) -> Tensor:
    """[1, C, h, w] -> [h * w, C + 1]"""
    flat = latents[0].flatten(1).T
    return torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1)


def _patchwork() -> Image.Image:
    """A picture of random colours at several scales, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    size = (_FITTED_SIDE, _FITTED_SIDE)
    levels = torch.full((1, 3, *size), 127.5)
    for patches in _PATCHES:
        noise = torch.randn(1, 3, patches, patches, generator=generator)
        levels += 50.0 * functional.interpolate(noise, size)
    pixels = levels.clamp(0, 255).round().to(torch.uint8)[0].permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())

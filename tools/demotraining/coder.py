"""Stage 1: the autoencoder, on crops of scenes, control maps and textures.

Owns its data and its loss. Knows no transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tools.demotraining.maps import control_map
from tools.demotraining.painting import Pixels, paint
from tools.demotraining.scenes import draw_scene
from tools.demotraining.textures import draw_texture

_SIDE = 256
_SMALL, _LARGE = (64, 10), (128, 4)
"""Sides of the crops and batch sizes: many small steps first, then large crops."""

_LARGE_FROM = 0.75
_KL_WEIGHT = 1e-4


def draw_pool(seed: int, scenes: int, textures: int) -> list[Pixels]:
    """Pictures to crop from: scenes, textures, and of every third scene a control map."""
    pool = []
    for index in range(scenes):
        painted = paint(draw_scene(Random(f"coder {seed} {index}")), (_SIDE, _SIDE))
        pool.append(painted.picture)
        if index % 3 == 0:
            pool.append(control_map(("canny", "depth", "pose")[index // 3 % 3], painted))
    pool += [draw_texture(np.random.default_rng((seed, index)), _SIDE) for index in range(textures)]
    return pool


class CoderLoss:
    """The loss of a batch of crops: pixels, edges and coarse colours, all in the L1 norm, and a
    little of the posterior's divergence."""

    def __init__(self, vae: AutoencoderKL, pool: list[Pixels]) -> None:
        self._vae, self._pool = vae, pool

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        side, count = _SMALL if passed < _LARGE_FROM else _LARGE
        pictures = torch.stack([self._crop(rng, side) for _ in range(count)])
        pictures = pictures.to(self._vae.device, memory_format=torch.channels_last)
        with torch.autocast(self._vae.device.type, torch.bfloat16):
            posterior = self._vae.encode(pictures).latent_dist
            decoded = self._vae.decode(posterior.sample()).sample
        return coder_distance(decoded.float(), pictures) + _KL_WEIGHT * _divergence(posterior)

    def _crop(self, rng: np.random.Generator, wanted: int) -> Tensor:
        picture = self._pool[int(rng.integers(len(self._pool)))]
        if rng.random() < 0.3:  # things at another size
            side = int(rng.choice((128, 192, 384)))
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        top, left = rng.integers(0, picture.shape[0] - wanted + 1, 2)
        crop = picture[top : top + wanted, left : left + wanted]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.2:
            crop = crop[..., rng.permutation(3)]
        return to_tensor(crop)


def _divergence(posterior: DiagonalGaussianDistribution) -> Tensor:
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    divergence: Tensor = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return divergence


def coder_distance(decoded: Tensor, pictures: Tensor) -> Tensor:
    """The reconstruction error of pictures, [B, 3, H, W] each."""
    error = decoded - pictures
    across, down = error.diff(dim=-1).abs().mean(), error.diff(dim=-2).abs().mean()
    coarse = functional.avg_pool2d(error, 4).abs().mean()
    return error.abs().mean() + across + down + coarse


def to_tensor(picture: Pixels) -> Tensor:
    """uint8 [H, W, 3] to float32 [3, H, W] in -1..1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1


def to_picture(values: Tensor) -> Pixels:
    """The inverse of to_tensor."""
    levels = ((values.float() * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).cpu().numpy()


def coder_sheet(pool: list[Pixels], count: int = 10) -> Callable[[AutoencoderKL, Path], None]:
    """Draws pictures above their reconstructions."""
    shown = torch.stack([to_tensor(pool[index * len(pool) // count]) for index in range(count)])

    def sheet(vae: AutoencoderKL, path: Path) -> None:
        decoded = vae.decode(vae.encode(shown.to(vae.device)).latent_dist.mode()).sample
        rows = [np.hstack([to_picture(one) for one in row]) for row in (shown, decoded)]
        Image.fromarray(np.vstack(rows)).save(path)

    return sheet


@torch.inference_mode()
def set_latent_scale(vae: AutoencoderKL, pictures: list[Pixels]) -> None:
    """Make the latents of `pictures` have mean 0 and variance 1 by the scale and shift."""
    shown = (to_tensor(picture)[None].to(vae.device) for picture in pictures)
    latents = torch.cat([vae.encode(one).latent_dist.mode() for one in shown])
    vae.register_to_config(
        scaling_factor=round(1 / float(latents.std()), 4),
        shift_factor=round(float(latents.mean()), 4),
    )

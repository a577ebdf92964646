"""Random textures without a scene: noise and dead leaves with the spectrum of photographs.

They make the training of pixels valid for photographs too.

Dead leaves: Lee, Mumford and Huang, "Occlusion models for natural images" (2001); as training data:
Baradad et al., "Learning to see by looking at noise", arXiv 2106.05963.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.demotraining.painting import Pixels

_COARSE = 0.7
"""Share of textures with large, smooth, shaded leaves: most of a photograph is smooth, and what a
model adds to the rest of one should be too."""


def draw_texture(rng: np.random.Generator, side: int) -> Pixels:
    """A texture at random, uint8 RGB [side, side, 3]."""
    coarse = rng.random() < _COARSE
    steepness, least = ((1.5, 2.6), 0.05) if coarse else ((0.8, 2.2), 0.03)
    picture = _cloud(rng, side, steepness)
    for _ in range(int(rng.choice((4, 12, 30, 60) if coarse else (0, 30, 80, 200)))):
        filling = _cloud(rng, side, steepness) if rng.random() < 0.15 else None
        _leaf(rng, picture, filling, side * least, shading=0.5 if coarse else 0.0)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 2.5)))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _cloud(
    rng: np.random.Generator, side: int, steepness: tuple[float, float]
) -> NDArray[np.float32]:
    """Noise whose amplitude falls with frequency as 1/f^a, a in `steepness`, between two or three
    colours."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0
    spectrum = frequency ** -rng.uniform(*steepness)
    fields: list[NDArray[np.float64]] = []
    for _ in range(2):
        phases = rng.standard_normal(spectrum.shape) + 1j * rng.standard_normal(spectrum.shape)
        field = np.fft.irfft2(spectrum * phases, s=(side, side))
        fields.append((field - field.mean()) / (field.std() + 1e-6))
    first, second, third = (_colour(rng) for _ in range(3))
    contrast = rng.uniform(0.1, 0.7)
    mixed = (
        first
        + (second - first) * (0.5 + contrast * fields[0][..., None])
        + (third - first) * 0.5 * contrast * fields[1][..., None]
    )
    return mixed.astype(np.float32)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Seldom saturated, as in photographs."""
    grey = rng.uniform(0, 255)
    saturation = rng.beta(1.0, 3.0)
    return grey * (1 - saturation) + rng.uniform(0, 255, 3) * saturation


def _leaf(
    rng: np.random.Generator,
    picture: NDArray[np.float32],
    filling: NDArray[np.float32] | None,
    least: float,
    shading: float,
) -> None:
    """Add a leaf. least: its radius at least. shading: how much its light may change across it."""
    side = picture.shape[0]
    # Areas that fall with the cube of the radius give the scale invariance of photographs.
    radius = least / rng.uniform(0.01, 1.0) ** 0.5
    x, y = rng.uniform(0, side, 2)
    axes = (max(1, int(radius)), max(1, int(radius * rng.uniform(0.3, 1.0))))
    mask = np.zeros((side, side), np.uint8)
    if rng.random() < 0.5:
        cv2.ellipse(mask, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    else:
        corners = np.array((x, y)) + rng.uniform(-radius, radius, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    # Only in the box of the leaf: most leaves are small.
    top, bottom = (int(np.clip(y + d, 0, side)) for d in (-radius - 1, radius + 2))
    left, right = (int(np.clip(x + d, 0, side)) for d in (-radius - 1, radius + 2))
    share = mask[top:bottom, left:right, None].astype(np.float32) / 255
    colour = _colour(rng) if filling is None else filling[top:bottom, left:right]
    if shading:
        rows, columns = np.mgrid[top:bottom, left:right]
        across = (rng.uniform(-1, 1) * (rows - y) + rng.uniform(-1, 1) * (columns - x)) / radius
        colour = colour * (1 + shading * across[..., None])
    part = picture[top:bottom, left:right]
    part[:] = part * (1 - share) + colour * share

"""Sizes in pixels: what a request's picture measures and what must be generated for it.

Torch-free arithmetic on (width, height) pairs; touches no image.
"""

from __future__ import annotations

MULTIPLE = 16
"""One FLUX token covers 16x16 pixels: 8 from the autoencoder, 2 from the packing."""

MAX_SIDE = 4096

Size = tuple[int, int]
Box = tuple[int, int, int, int]


def fit_within(size: Size, max_side: int, max_pixels: int) -> Size:
    """`size` scaled down, never up, until no side exceeds max_side and the area max_pixels."""
    width, height = size
    scale = min(1.0, max_side / max(size), (max_pixels / (width * height)) ** 0.5)
    if scale == 1.0:
        return size
    # Rounding down keeps both bounds; a side never vanishes.
    return max(1, int(width * scale)), max(1, int(height * scale))


def generated_size(target: Size) -> Size:
    """The next multiples of 16 that hold `target`."""
    width, height = target
    return -(-width // MULTIPLE) * MULTIPLE, -(-height // MULTIPLE) * MULTIPLE


def centred_box(outer: Size, inner: Size) -> Box:
    """(left, top, right, bottom) of `inner` in the middle of `outer`."""
    left = (outer[0] - inner[0]) // 2
    top = (outer[1] - inner[1]) // 2
    return left, top, left + inner[0], top + inner[1]


def resolution_mu(size: Size) -> float:
    """Shift that grows linearly with the number of tokens: 0.5 at 256, 1.15 at 4096, no clamping.

    The rule of FLUX's reference code (black-forest-labs/flux, sampling.py).
    """
    slope = (1.15 - 0.5) / (4096 - 256)
    tokens = size[0] * size[1] / MULTIPLE**2
    return slope * tokens + 0.5 - 256 * slope

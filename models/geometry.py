"""Sizes in pixels: the requested size of a picture and the size that is generated for it.

Torch-free arithmetic on (width, height) pairs; it touches no image.
"""

from __future__ import annotations

from math import isqrt

MULTIPLE = 16
"""One FLUX token covers 16x16 pixels: 8 from the autoencoder, 2 from the packing."""

MIN_SIDE = 64
"""The minimum of a requested size; an input picture may be smaller."""

MAX_SIDE = 4096
MEGAPIXEL = 1024 * 1024

Size = tuple[int, int]
Box = tuple[int, int, int, int]


def fit_within(size: Size, max_side: int, max_pixels: int) -> Size:
    """`size` scaled down, never up, so that no side exceeds max_side and the area max_pixels."""
    width, height = size
    scale = min(1.0, max_side / max(size), (max_pixels / (width * height)) ** 0.5)
    if scale == 1.0:
        return size
    # Rounding down keeps both bounds; a side never vanishes.
    return max(1, int(width * scale)), max(1, int(height * scale))


def largest_of_shape(size: Size, max_pixels: int) -> Size:
    """The largest size with the aspect ratio of `size` (which is larger) and at most max_pixels.

    No side is smaller than MIN_SIDE; a very thin shape changes its aspect ratio instead.
    """
    width, height = size
    # Integer roots, so that float rounding neither loses nor adds a pixel.
    largest = isqrt(max_pixels * width // height), isqrt(max_pixels * height // width)
    if largest[0] < MIN_SIDE:
        return MIN_SIDE, max_pixels // MIN_SIDE
    if largest[1] < MIN_SIDE:
        return max_pixels // MIN_SIDE, MIN_SIDE
    return largest


def generated_size(target: Size) -> Size:
    """`target` with both sides rounded up to multiples of 16."""
    width, height = target
    return -(-width // MULTIPLE) * MULTIPLE, -(-height // MULTIPLE) * MULTIPLE


def work_units(size: Size, evaluations: int, samples: int = 1, factor: float = 1.0) -> float:
    """The GPU work of a request: generated megapixels * evaluations per picture * pictures.

    factor: models.evaluations.control_factor, for a request with several controls.
    """
    width, height = generated_size(size)
    return width * height / MEGAPIXEL * evaluations * samples * factor


def centred_box(outer: Size, inner: Size) -> Box:
    """(left, top, right, bottom) of `inner` centred in `outer`."""
    left = (outer[0] - inner[0]) // 2
    top = (outer[1] - inner[1]) // 2
    return left, top, left + inner[0], top + inner[1]


def resolution_mu(size: Size) -> float:
    """A shift that is linear in the number of tokens: 0.5 at 256, 1.15 at 4096, not clamped.

    The rule of FLUX's reference code (black-forest-labs/flux, sampling.py).
    """
    slope = (1.15 - 0.5) / (4096 - 256)
    tokens = size[0] * size[1] / MULTIPLE**2
    return slope * tokens + 0.5 - 256 * slope

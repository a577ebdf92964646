"""Low quality: the picture with a fraction of its pixels, for results that restore it."""

from __future__ import annotations

from PIL import Image

from models.geometry import Size

_FACTOR = 4
"""A side of the picture is divided by this, as in four-fold super-resolution."""


def make(picture: Image.Image, size: Size) -> Image.Image:
    """`picture` at `size`, scaled down by 4 and up again."""
    small = max(1, size[0] // _FACTOR), max(1, size[1] // _FACTOR)
    reduced = picture.convert("RGB").resize(small, Image.Resampling.LANCZOS)
    return reduced.resize(size, Image.Resampling.BICUBIC)

"""Blur: the picture without its details, for results with the same large shapes and colours."""

from __future__ import annotations

from PIL import Image, ImageFilter

from models.geometry import Size

_RADIUS = 1 / 64
"""Standard deviation of the Gaussian, as a share of the shorter side."""


def make(picture: Image.Image, size: Size) -> Image.Image:
    """`picture` at `size`, blurred."""
    resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return resized.filter(ImageFilter.GaussianBlur(min(size) * _RADIUS))

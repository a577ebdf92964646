"""Tile: the picture itself is the control, so that the result keeps its layout and colours."""

from __future__ import annotations

from PIL import Image

from models.geometry import Size


def make(picture: Image.Image, size: Size) -> Image.Image:
    """`picture` at `size`."""
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)

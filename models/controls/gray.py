"""Gray: the picture without its colours, for results with the same brightness (colourisation)."""

from __future__ import annotations

from PIL import Image

from models.geometry import Size


def make(picture: Image.Image, size: Size) -> Image.Image:
    """`picture` at `size`, its luma (ITU-R BT.601) in all three channels."""
    resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return resized.convert("L").convert("RGB")

"""Soft edges, white on black: HED (Xie and Tu, arXiv 1504.06375) through controlnet_aux."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from models.controls.annotation import detect
from models.geometry import Size

if TYPE_CHECKING:
    from models.controls import Detector


def make(picture: Image.Image, size: Size, detector: Detector) -> Image.Image:
    """Edges of `picture`, as bright as they are strong, bicubic to `size` (they are smooth)."""
    return detect(detector, picture, size, Image.Resampling.BICUBIC)

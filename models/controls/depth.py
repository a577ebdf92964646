"""Depth, near is bright: MiDaS (Ranftl et al., arXiv 1907.01341) or another detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.controls.annotation import detect
from models.geometry import Size

if TYPE_CHECKING:
    from models.controls import Detector


def make(picture: Image.Image, size: Size, detector: Detector) -> Image.Image:
    """Relative depth of `picture`, bicubic to `size` (depth is smooth)."""
    # For a picture of constant depth the detector divides by a zero range; the map is then black.
    with np.errstate(invalid="ignore", divide="ignore"):
        return detect(detector, picture, size, Image.Resampling.BICUBIC)

"""Canny edges, white on black (Canny, 1986; OpenCV's implementation)."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from models.geometry import Size
from models.spec import CANNY_HIGH, CANNY_LOW


def make(
    picture: Image.Image, size: Size, low: int = CANNY_LOW, high: int = CANNY_HIGH
) -> Image.Image:
    """Edges of `picture` at `size`, detected after resizing so that they are one pixel wide.

    low, high: thresholds of the gradient, 0..255: edges start above high and go on above low.
    """
    resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    edges = cv2.Canny(np.asarray(resized), low, high)
    return Image.fromarray(edges).convert("RGB")

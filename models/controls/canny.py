"""Canny edges, white on black (Canny, 1986; OpenCV's implementation)."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from models.geometry import Size

LOW_THRESHOLD = 100
HIGH_THRESHOLD = 200


def make(picture: Image.Image, size: Size) -> Image.Image:
    """Edges of `picture` at `size`, detected after resizing so that they are one pixel wide."""
    resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    edges = cv2.Canny(np.asarray(resized), LOW_THRESHOLD, HIGH_THRESHOLD)
    return Image.fromarray(edges).convert("RGB")

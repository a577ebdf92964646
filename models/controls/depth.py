"""Depth, near is bright: MiDaS (Ranftl et al., arXiv 1907.01341) through controlnet_aux."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.controls.annotation import Detector, detect_resolution
from models.geometry import Size


def make(picture: Image.Image, size: Size, detector: Detector) -> Image.Image:
    """Relative depth of `picture`, bicubic to `size` (depth is smooth)."""
    resolution = detect_resolution(picture.size)
    # A picture of one depth is divided by its zero range inside the detector: all black then.
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = detector(
            np.asarray(picture.convert("RGB")),
            detect_resolution=resolution,
            image_resolution=resolution,
            output_type="np",
        )
    return Image.fromarray(depth).convert("RGB").resize(size, Image.Resampling.BICUBIC)

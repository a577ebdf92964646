"""Pose, coloured limbs on black: OpenPose (Cao et al., arXiv 1812.08008) through controlnet_aux.

A picture without people gives a black map: no pose is a pose too.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.controls.annotation import Detector, detect_resolution
from models.geometry import Size


def make(picture: Image.Image, size: Size, detector: Detector) -> Image.Image:
    """Skeletons found in `picture`, nearest to `size` (limb colours must not blend)."""
    resolution = detect_resolution(picture.size)
    skeleton = detector(
        np.asarray(picture.convert("RGB")),
        detect_resolution=resolution,
        image_resolution=resolution,
        output_type="np",
    )
    return Image.fromarray(skeleton).convert("RGB").resize(size, Image.Resampling.NEAREST)

"""Pose, coloured limbs on black: OpenPose (Cao et al., arXiv 1812.08008) through controlnet_aux.

A picture without people gives a black map, which is a valid control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from models.controls.annotation import detect
from models.geometry import Size

if TYPE_CHECKING:
    from controlnet_aux.open_pose import OpenposeDetector


def make(picture: Image.Image, size: Size, detector: OpenposeDetector) -> Image.Image:
    """Skeletons found in `picture`, nearest to `size` (limb colours must not blend)."""
    return detect(detector, picture, size, Image.Resampling.NEAREST)

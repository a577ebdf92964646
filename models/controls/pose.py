"""Pose, coloured limbs on black: OpenPose (Cao et al., arXiv 1812.08008) or another detector.

A picture without people gives a black map, which is a valid control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from models.controls.annotation import detect
from models.geometry import Size

if TYPE_CHECKING:
    from models.controls import Detector


def make(picture: Image.Image, size: Size, detector: Detector) -> Image.Image:
    """Skeletons found in `picture`, nearest to `size` (limb colours must not blend)."""
    return detect(detector, picture, size, Image.Resampling.NEAREST)


def has_people(control_map: Image.Image) -> bool:
    """Whether a pose map, detected or sent by a client, shows anything."""
    return control_map.getbbox() is not None

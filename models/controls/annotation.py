"""Runs a detector with an exact output size.

controlnet_aux's detectors scale the short side to `detect_resolution` and round both sides to 64,
and OpenPose fails on thin pictures. So a thin picture is padded by repeating its edge. The result
is cropped to the picture's own part and resized here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.geometry import Box, Size, centred_box

if TYPE_CHECKING:
    from models.controls import Detector

SHORT_SIDE = 512
LONGEST_TO_SHORTEST = 4


def detect(
    detector: Detector, picture: Image.Image, size: Size, resampling: Image.Resampling
) -> Image.Image:
    """The map of `detector` for `picture`, RGB of `size`."""
    padded, box = _pad(np.asarray(picture.convert("RGB")))
    pixels = detector(
        padded, detect_resolution=SHORT_SIDE, image_resolution=SHORT_SIDE, output_type="np"
    )
    detected = Image.fromarray(pixels).convert("RGB")
    scale_x, scale_y = detected.width / padded.shape[1], detected.height / padded.shape[0]
    left, top, right, bottom = box
    part = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
    return detected.resize(size, resampling, box=part)


def _pad(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Box]:
    """The picture with its short side padded to a quarter of the long one, and its box in it."""
    height, width = pixels.shape[:2]
    shortest = -(-max(width, height) // LONGEST_TO_SHORTEST)
    outer = max(width, shortest), max(height, shortest)
    left, top, right, bottom = centred_box(outer, (width, height))
    padding = ((top, outer[1] - bottom), (left, outer[0] - right), (0, 0))
    return np.pad(pixels, padding, mode="edge"), (left, top, right, bottom)

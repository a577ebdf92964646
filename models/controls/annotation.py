"""How a controlnet_aux detector is asked without letting it choose the size.

The detectors scale the short side to `detect_resolution` and round both sides to 64; OpenPose
fails on thin pictures. So a thin picture is widened for the question, its rim repeated, and the
answer cut back to the picture's own part and resized here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.geometry import Box, Size, centred_box

SHORT_SIDE = 512
LONGEST_TO_SHORTEST = 4


def detect(
    detector: Any, picture: Image.Image, size: Size, resampling: Image.Resampling
) -> Image.Image:
    """What `detector` (a MidasDetector or OpenposeDetector) sees in `picture`, RGB of `size`."""
    widened, own = _widen(np.asarray(picture.convert("RGB")))
    answer = detector(
        widened, detect_resolution=SHORT_SIDE, image_resolution=SHORT_SIDE, output_type="np"
    )
    seen = Image.fromarray(answer).convert("RGB")
    scale_x, scale_y = seen.width / widened.shape[1], seen.height / widened.shape[0]
    left, top, right, bottom = own
    part = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
    return seen.resize(size, resampling, box=part)


def _widen(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Box]:
    """The picture with its short side padded to a quarter of the long one, and its place in it."""
    height, width = pixels.shape[:2]
    least = -(-max(width, height) // LONGEST_TO_SHORTEST)
    outer = max(width, least), max(height, least)
    left, top, right, bottom = centred_box(outer, (width, height))
    rim = ((top, outer[1] - bottom), (left, outer[0] - right), (0, 0))
    return np.pad(pixels, rim, mode="edge"), (left, top, right, bottom)

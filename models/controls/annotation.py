"""How a controlnet_aux detector is asked without letting it choose the size.

The detectors scale the short side to `detect_resolution` and round both sides to 64; so the
resolution is bounded here and the answer is resized by the caller.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.geometry import Size

SHORT_SIDE = 512
LONG_SIDE = 2048
_ROUNDING = 64


class Detector(Protocol):
    """What MidasDetector and OpenposeDetector have in common."""

    def __call__(
        self,
        input_image: NDArray[np.uint8],
        *,
        detect_resolution: int,
        image_resolution: int,
        output_type: str,
    ) -> NDArray[np.uint8]: ...


def detect_resolution(size: Size) -> int:
    """Short side to detect at: 512, less when the long side would pass 2048 (thin pictures)."""
    short = SHORT_SIDE * min(1.0, LONG_SIDE * min(size) / (SHORT_SIDE * max(size)))
    return max(_ROUNDING, round(short / _ROUNDING) * _ROUNDING)

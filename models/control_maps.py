"""The control maps of a loaded checkpoint, with a cache of detector results.

Plain maps are not cached: making one costs less than the look-up. models/controls owns the types
and how each is made. Knows nothing of requests.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image

from models.cache import TensorCache, Tensors
from models.controls import Annotators, make_control_map, make_plain_map
from models.geometry import Size
from models.spec import CANNY_HIGH, CANNY_LOW


class ControlMaps:
    """make_control_map with a cache, keyed by control type, size and the picture's pixels. The
    thresholds of canny are no part of the key, because its maps are not cached.

    Not thread-safe. `detected` counts the runs of a detector.
    """

    def __init__(self, annotators: Annotators, cache: TensorCache) -> None:
        self._annotators, self._cache = annotators, cache
        self.detected = 0

    def make(
        self,
        control: str,
        picture: Image.Image,
        size: Size,
        canny_low: int = CANNY_LOW,
        canny_high: int = CANNY_HIGH,
    ) -> Image.Image:
        """The control map of type `control`, RGB of exactly `size`."""
        plain = make_plain_map(control, picture, size, canny_low, canny_high)
        if plain is not None:
            return plain

        def detect() -> Tensors:
            self.detected += 1
            control_map = make_control_map(control, picture, size, self._annotators)
            return (torch.from_numpy(np.array(control_map)),)

        digest = hashlib.sha256(picture.tobytes()).digest()
        content = self._annotators, control, size, picture.mode, picture.size, digest
        (levels,) = self._cache.get(content, detect)
        return Image.fromarray(levels.numpy())

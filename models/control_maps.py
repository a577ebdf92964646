"""Control maps of a loaded checkpoint: what a detector has seen in a picture is kept, so that the
same picture is not shown to it twice. Plain maps cost less than the look-up.

Knows nothing of requests; which types there are and how each is made is models/controls' business.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image

from models.cache import TensorCache, Tensors
from models.controls import Annotators, make_control_map, make_plain_map
from models.geometry import Size


class ControlMaps:
    """make_control_map with a memory, of maps by control type, size and the picture's pixels.

    For one thread. detected counts the runs of a detector.
    """

    def __init__(self, annotators: Annotators, cache: TensorCache) -> None:
        self._annotators, self._cache = annotators, cache
        self.detected = 0

    def make(self, control: str, picture: Image.Image, size: Size) -> Image.Image:
        """The control map of type `control`, RGB of exactly `size`."""
        plain = make_plain_map(control, picture, size)
        if plain is not None:
            return plain

        def detect() -> Tensors:
            self.detected += 1
            made = make_control_map(control, picture, size, self._annotators)
            return (torch.from_numpy(np.array(made)),)

        digest = hashlib.sha256(picture.tobytes()).digest()
        content = control, size, picture.mode, picture.size, digest
        (levels,) = self._cache.get(content, detect)
        return Image.fromarray(levels.numpy())

"""The style of the demo's LoRA: a cyanotype, whose colours lie on one line from dark to pale blue.

Owns the palette. Brightness stays, so depth and edges of a picture stay too. Knows no training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAME = "cyanotype"
"""Of the file and of the style. It is the trigger word too: a prompt may begin with
"cyanotype of"."""

_DARK = np.array((8, 24, 96), np.float64)
_PALE = np.array((214, 236, 255), np.float64)
_LUMA = np.array((0.299, 0.587, 0.114))
"""Of ITU-R BT.601."""


def cyanotype(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] -> the colours of the palette that have the same luma, or the palette's
    nearest end. A cyanotype stays as it is, up to rounding."""
    darkest, palest = _DARK @ _LUMA, _PALE @ _LUMA
    share = np.clip((picture @ _LUMA - darkest) / (palest - darkest), 0, 1)[..., None]
    levels: NDArray[np.float64] = np.rint(_DARK + share * (_PALE - _DARK))
    return levels.astype(np.uint8)


def with_trigger(prompt: str) -> str:
    """The prompt with the trigger word."""
    return f"{NAME} of {prompt}" if prompt else NAME

"""The named colours of the demo's world, and the colour name of a pixel. Knows no scene.

Light falls off with distance, so a name belongs to a colour at any brightness between DIMMEST and
full.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

DIMMEST = 0.6

OBJECT_COLOURS: dict[str, Colour] = {
    "red": (225, 35, 35),
    "orange": (250, 140, 20),
    "yellow": (245, 225, 45),
    "green": (45, 175, 65),
    "cyan": (50, 200, 205),
    "blue": (45, 85, 230),
    "purple": (140, 60, 195),
    "pink": (250, 135, 185),
    "white": (245, 245, 245),
}

BACKGROUND_COLOURS: dict[str, Colour] = {
    "black": (18, 18, 20),
    "grey": (112, 112, 116),
    "dark blue": (20, 30, 75),
    "dark green": (18, 58, 34),
    "brown": (84, 52, 30),
    "light blue": (185, 212, 240),
    "beige": (232, 220, 190),
    "light green": (190, 228, 190),
}

SKIN: tuple[Colour, ...] = ((245, 205, 175), (220, 170, 130), (165, 112, 76), (105, 70, 48))


def lit(colour: Colour, nearness: float) -> Colour:
    """`colour` as it is seen at a depth: full light at 1, DIMMEST at 0."""
    light = DIMMEST + (1.0 - DIMMEST) * nearness
    red, green, blue = (round(level * light) for level in colour)
    return red, green, blue


def name_of(pixel: NDArray[np.floating] | NDArray[np.uint8]) -> str:
    """The name of the object colour nearest to an RGB triple at any brightness it may have."""
    names = list(OBJECT_COLOURS)
    palette = np.array([OBJECT_COLOURS[name] for name in names], dtype=np.float64)
    seen = np.asarray(pixel, dtype=np.float64)
    # The brightness at which each colour comes nearest, held to what light can do.
    light = np.clip(palette @ seen / (palette**2).sum(axis=1), DIMMEST - 0.1, 1.05)
    return names[int(np.argmin(((palette * light[:, None] - seen) ** 2).sum(axis=1)))]

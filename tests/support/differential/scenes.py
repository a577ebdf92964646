"""The encoded pixels, and their display: upright RGB of 8 bits on white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes8: TypeAlias = NDArray[np.uint8]
Array: TypeAlias = NDArray[Any]
DEFAULT_SIZE = (45, 30)
"""Width and height: odd, so that packed rows end inside a byte and tiles and chroma blocks inside
the picture."""
LARGE_SIZE = (1101, 757)
"""What decoders that work on a few rows or megabytes at a time take in several steps."""


@dataclass(frozen=True)
class Scene:
    """Coloured gradients with a few blocks. No symmetry, so that a wrong turn is seen, and large
    clear and opaque areas, so that wrong transparency is.

    rgb: height x width x 3. alpha: height x width. deep: rgb in 16 bits. gradients: rgb without the
    blocks, 0..1.
    """

    rgb: Bytes8
    alpha: Bytes8
    deep: NDArray[np.uint16]
    gradients: NDArray[np.float64]

    @property
    def smooth(self) -> Scene:
        """Without edges and with half of the contrast."""
        return _scene(self.gradients / 2 + 0.25, self.alpha, self.gradients)

    @property
    def size(self) -> tuple[int, int]:
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def grey(self) -> Bytes8:
        return np.asarray(self.rgb.mean(axis=2), dtype=np.uint8)

    @property
    def deep_grey(self) -> NDArray[np.uint16]:
        return np.asarray(self.deep.mean(axis=2), dtype=np.uint16)

    @property
    def rgba(self) -> Bytes8:
        return np.dstack([self.rgb, self.alpha])


def scene(seed: int = 0, large: bool = False) -> Scene:
    """Seed 0 has the default size; others have sides of 8 to 70 pixels, unless large."""
    random = np.random.default_rng(seed)
    sides = DEFAULT_SIZE if seed == 0 else random.integers(8, 71, 2).tolist()
    width, height = LARGE_SIZE if large else sides
    y, x = np.mgrid[0:height, 0:width].astype(float)
    x, y = x / max(1, width - 1), y / max(1, height - 1)
    gradients = np.dstack([0.1 + 0.8 * x, 0.9 - 0.7 * y, 0.15 + 0.35 * (x + y)])
    values = gradients.copy()
    for _ in range(3):
        left, top = random.uniform(0, 0.7, 2)
        inside = (x >= left) & (x < left + 0.3) & (y >= top) & (y < top + 0.3)
        values[inside] = random.uniform(0, 1, 3)
    alpha = np.clip(1.8 * x - 0.4 + 0.2 * y, 0, 1)
    return _scene(values, np.rint(alpha * 255).astype(np.uint8), gradients)


def _scene(values: NDArray[np.float64], alpha: Bytes8, gradients: NDArray[np.float64]) -> Scene:
    rgb, deep = np.rint(values * 255), np.rint(values * 65535)
    return Scene(rgb.astype(np.uint8), alpha, deep.astype(np.uint16), gradients)


def levels(values: Array, bits: int) -> NDArray[np.int64]:
    """Values of 8 bits as whole numbers of `bits`."""
    scaled: NDArray[np.int64] = np.rint(values / 255 * (2**bits - 1)).astype(np.int64)
    return scaled


def shown(values: Array, maximum: float, alpha: Array | None = None) -> Bytes8:
    """What a screen shows of grey (height x width) or RGB samples of 0..maximum; alpha likewise."""
    colours = values.astype(float) / maximum
    if colours.ndim == 2:
        colours = np.dstack([colours] * 3)
    if alpha is not None:
        opacity = (alpha.astype(float) / maximum)[..., None]
        colours = colours * opacity + 1 - opacity
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def upright(pixels: Bytes8, orientation: int) -> Bytes8:
    """Stored pixels as the orientation tag (1..8) says that they are to be shown."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    flips = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, right = flips.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels[::down, ::right])


def naive_rgb(cmyk: Bytes8) -> Bytes8:
    """CMYK (0 is no ink) without a profile, as browsers show it."""
    inks = cmyk.astype(float) / 255
    return np.rint((1 - inks[..., :3]) * (1 - inks[..., 3:]) * 255).astype(np.uint8)


def inks(picture: Scene) -> Bytes8:
    """A CMYK picture with something in each channel."""
    return np.dstack([255 - picture.rgb, picture.alpha // 2])

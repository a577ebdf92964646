"""TIFF in Lab -> sRGB.

CIELab has a and b in two's complement and the white point D65, as in libvips. ICCLab has them with
an offset of 128 and the white point D50; its maximum of a 16-bit L is 0xFF00. Floats are plain
values. Sources: TIFF 6.0 (Adobe, 1992), section 23; Adobe PageMaker 6.0 TIFF Technical Notes
(ICCLab); IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.images.formats.still import unsupported
from app.core.images.formats.tiff.directory import Directory
from app.core.images.formats.tiff.samples import FLOAT, Layout, Samples, blocks

Floats = NDArray[np.float32]

CIELAB, ICCLAB = 8, 9

# Linear sRGB -> XYZ, for each white point; D50 is adapted like in ICC profiles.
_TO_XYZ: dict[int, NDArray[np.float64]] = {
    CIELAB: np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ),
    ICCLAB: np.array(
        [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
    ),
}
_ROWS = 64  # at a time


def read_lab(data: bytes, directory: Directory, layout: Layout, photometric: int) -> Image.Image:
    """The picture as RGB in sRGB."""
    depths = (16, 32, 64) if layout.kind == FLOAT else (8, 16)
    if layout.samples != 3 or layout.bits not in depths:
        raise unsupported(f"a TIFF in Lab of {layout.samples} samples of {layout.bits} bits")
    values: Samples | None = None
    for block in blocks(data, directory, layout):
        if values is None:
            values = np.zeros((layout.height, layout.width, 3), block.samples.dtype)
        high, wide, count = block.samples.shape
        rows, columns = slice(block.row, block.row + high), slice(block.column, block.column + wide)
        values[rows, columns, block.first_sample : block.first_sample + count] = block.samples
    assert values is not None
    pixels = np.empty(values.shape, np.uint8)
    for top in range(0, layout.height, _ROWS):
        lab = _lab(values[top : top + _ROWS], layout, photometric)
        pixels[top : top + _ROWS] = _srgb(lab, _TO_XYZ[photometric])
    return Image.fromarray(pixels)


def _lab(values: Samples, layout: Layout, photometric: int) -> Floats:
    """L from 0 to 100, a and b from -128 to 127."""
    if layout.kind == FLOAT:
        return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=128, neginf=-128)
    unit = 1 << layout.bits - 8
    top = 65280 if (layout.bits, photometric) == (16, ICCLAB) else 2**layout.bits - 1
    plain = values.astype(np.float32) % np.float32(2**layout.bits)
    lab = plain / np.float32(unit)
    lab[..., 0] = plain[..., 0] * 100 / top
    if photometric == ICCLAB:
        lab[..., 1:] -= 128
    else:
        lab[..., 1:] -= 256 * (lab[..., 1:] >= 128)
    return lab


def _srgb(lab: Floats, to_xyz: NDArray[np.float64]) -> NDArray[np.uint8]:
    y = (lab[..., 0] + 16) / 116
    roots = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    cubes = roots * roots * roots
    relative = np.where(roots > 6 / 29, cubes, (roots - 4 / 29) * (3 * (6 / 29) ** 2))
    matrix: NDArray[np.float64] = np.linalg.inv(to_xyz).T * to_xyz.sum(axis=1)[:, None]
    linear = relative @ matrix.astype(np.float32)
    pixels: NDArray[np.uint8] = _CURVE[
        (linear.clip(0, 1) * (len(_CURVE) - 1) + 0.5).astype(np.uint32)
    ]
    return pixels


def _curve() -> NDArray[np.uint8]:
    """Table from 16-bit linear light to 8-bit sRGB."""
    linear = np.arange(2**16) / (2**16 - 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (curved * 255 + 0.5).astype(np.uint8)


_CURVE = _curve()

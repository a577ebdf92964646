"""BMP: decodes 16-bit and 32-bit pixels with any channel masks; Pillow decodes the rest.

Source: Microsoft, "Bitmap Storage" (BITMAPINFOHEADER, BITMAPV4HEADER).
"""

from __future__ import annotations

import io
import struct
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.formats.still import TRUNCATED, Opened, Still, unsupported

_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_READ = frozenset((0, 1, 2, _BITFIELDS, _ALPHA_BITFIELDS))
_V3 = 56  # the first header with an alpha mask
_OS2 = 64  # its compression numbers have other meanings
_ROWS = 256  # at a time


def open_bmp(data: bytes) -> Opened:
    (header,) = struct.unpack_from("<I", data, 14)
    if header >= 40:
        bits, compression = struct.unpack_from("<HI", data, 28)
        odd = header == _OS2 and compression >= _BITFIELDS
        if odd or compression not in _READ or bits not in (1, 2, 4, 8, 16, 24, 32):
            raise unsupported(f"a BMP of compression {compression} and {bits} bits")
        if compression in (_BITFIELDS, _ALPHA_BITFIELDS) and bits in (16, 32):
            return _open_masked(data, header, bits, compression)
    image = Image.open(io.BytesIO(data), formats=("BMP",))
    return Opened(image.size, image.size, partial(_load, image))


def _load(image: Image.Image) -> Still:
    image.load()
    return Still(image)


def _open_masked(data: bytes, header: int, bits: int, compression: int) -> Opened:
    (start,) = struct.unpack_from("<I", data, 10)
    width, height = struct.unpack_from("<ii", data, 18)
    has_alpha = header >= _V3 or compression == _ALPHA_BITFIELDS
    masks = struct.unpack_from("<4I" if has_alpha else "<3I", data, 54)
    if width <= 0 or height == 0:
        raise ImageRejected(TRUNCATED)
    size = width, abs(height)
    return Opened(size, size, lambda: _masked(data[start:], width, height, bits, masks))


def _masked(data: bytes, width: int, height: int, bits: int, masks: tuple[int, ...]) -> Still:
    """height: negative if the first row is the top one."""
    stride = (width * bits + 31) // 32 * 4
    if len(data) < stride * abs(height):
        raise ImageRejected(TRUNCATED)
    rows = np.frombuffer(data, np.uint8, stride * abs(height)).reshape(-1, stride)
    if height > 0:
        rows = rows[::-1]
    used = masks if len(masks) < 4 or masks[3] else masks[:3]
    channels = np.empty((abs(height), width, len(used)), np.uint8)
    for top in range(0, abs(height), _ROWS):
        part = np.ascontiguousarray(rows[top : top + _ROWS, : width * bits // 8])
        numbers = part.view(f"<u{bits // 8}")
        for i, mask in enumerate(used):
            channels[top : top + _ROWS, :, i] = _channel(numbers, mask)
    if len(used) == 4 and not channels[:, :, 3].any():
        channels = np.ascontiguousarray(channels[:, :, :3])  # unused alpha; so do browsers
    return Still(Image.fromarray(channels))


def _channel(numbers: NDArray[np.generic], mask: int) -> NDArray[np.uint8]:
    """The channel of a mask, scaled to 8 bits."""
    if mask == 0:
        return np.zeros(numbers.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (numbers.astype(np.uint64) & np.uint64(mask)) >> np.uint64(shift)
    return ((values * np.uint64(255) + np.uint64(top // 2)) // np.uint64(top)).astype(np.uint8)

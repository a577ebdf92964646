"""PNG: Pillow decodes the pixels; this module applies the transparent colour (tRNS), because Pillow
compares it with values that it has scaled or truncated to 8 bits.

Source: PNG specification (third edition), 11.3.1.1.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from app.core.images.formats.orientation import orientation_of
from app.core.images.formats.still import Opened, Still, unsupported

# Text chunks and profiles are dropped, so the size of one is no reason to refuse a picture.
# MAX_TEXT_MEMORY still limits the decompressed size of all.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

_DEPTH_AT = 24
_ROWS = 256  # at a time


def open_png(data: bytes) -> Opened:
    if data[12:16] == b"CgBI":
        raise unsupported("a PNG in Apple's own form (CgBI)")
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    return Opened(image.size, image.size, lambda: _load(data, image))


def _load(data: bytes, image: Image.Image) -> Still:
    image.load()
    orientation = orientation_of(image)
    key = image.info.get("transparency")
    if key is None or image.mode == "P":
        return Still(image, orientation=orientation)
    depth = data[_DEPTH_AT]
    mask = 2**depth - 1  # the other bits of a key are meaningless
    del image.info["transparency"]
    if image.mode == "RGB":
        keys = [value & mask for value in key]
        low = _low_bytes(data) if depth == 16 else None
        alpha = _alpha_of_colour(image, low, keys)
    else:
        alpha = _alpha_of_grey(image, _grey_key(data) & mask, depth)
    return Still(image, alpha, orientation)


def _grey_key(data: bytes) -> int:
    """The key as stored. Pillow has 0 or 255 for pictures of 1 bit."""
    at = 8
    while data[at + 4 : at + 8] != b"tRNS":
        (length,) = struct.unpack_from(">I", data, at)
        at += 12 + length
    (key,) = struct.unpack_from(">H", data, at + 8)
    return int(key)


def _alpha_of_grey(image: Image.Image, key: int, depth: int) -> Image.Image:
    """Pillow has scaled depths below 8 to 0..255."""
    value = key if depth == 16 else key * 255 // (2**depth - 1)
    return _alpha([image], [value])


def _alpha_of_colour(
    image: Image.Image, low: Image.Image | None, keys: Sequence[int]
) -> Image.Image:
    if low is None:
        return _alpha([image], keys)
    return _alpha([image, low], [key >> 8 for key in keys] + [key & 255 for key in keys])


def _alpha(images: Sequence[Image.Image], keys: Sequence[int]) -> Image.Image:
    """0 where the values of all channels of all images equal their keys, else 255."""
    width, height = images[0].size
    alpha: NDArray[np.uint8] = np.full((height, width), 255, np.uint8)
    for top in range(0, height, _ROWS):
        box = (0, top, width, min(top + _ROWS, height))
        parts = [_numbers(image.crop(box)) for image in images]
        values = np.concatenate(parts, axis=2)
        alpha[top : top + _ROWS][(values == np.array(keys)).all(axis=2)] = 0
    return Image.fromarray(alpha)


def _numbers(image: Image.Image) -> NDArray[np.generic]:
    array = np.asarray(image.convert("L") if image.mode == "1" else image)
    return array.reshape(*array.shape[:2], -1)


def _low_bytes(data: bytes) -> Image.Image:
    """The low byte of each 16-bit channel, which is the high byte in little-endian."""
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    assert isinstance(image, ImageFile.ImageFile)
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    image.load()
    return image

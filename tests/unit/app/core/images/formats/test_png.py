"""PNG: the transparent colour at every depth; and XMP, which Pillow alone would apply."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.errors import ImageRejected
from app.core.images.decode import decode
from tests.support.picture_files import png_chunk, saved
from tests.support.pictures import astronaut

WIDE, HIGH = 16, 8
WHITE = [255, 255, 255]


def png(
    depth: int, colour_type: int, rows: bytes, *chunks: bytes, interlaced: bool = False
) -> bytes:
    header = struct.pack(">IIBBBBB", WIDE, HIGH, depth, colour_type, 0, 0, int(interlaced))
    data = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(data) + png_chunk(b"IEND", b"")


def packed(values: NDArray[np.int64], depth: int) -> bytes:
    """(height, numbers a row) -> rows without a filter."""
    bits = (values[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.astype(np.uint8).reshape(HIGH, -1), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def pixels(data: bytes) -> NDArray[np.int64]:
    return np.asarray(decode(data, 1_000_000, 1_000_000)).astype(np.int64)


GREYS = [(depth, key) for depth in (1, 2, 4) for key in range(2**depth)]
GREYS += [(depth, key) for depth in (8, 16) for key in (0, 1, 77, 2**depth // 2, 2**depth - 1)]


@pytest.mark.parametrize("unused_bits", [0, 0xFF00])
@pytest.mark.parametrize(("depth", "key"), GREYS)
def test_the_grey_of_a_colour_key_is_transparent(depth: int, key: int, unused_bits: int) -> None:
    top = 2**depth - 1
    values = np.arange(WIDE * HIGH).reshape(HIGH, WIDE) * (top // 127 or 1) % (top + 1)
    values[2, 3] = key
    values[2, 4] = key ^ 1
    marked = key | unused_bits if depth <= 8 else key
    shown = pixels(
        png(depth, 0, packed(values, depth), png_chunk(b"tRNS", struct.pack(">H", marked)))
    )
    seen = np.where(values == key, 255, values * 255 / top)
    assert np.abs(shown - seen[:, :, None]).max() <= 1
    assert shown[2, 3].tolist() == WHITE


@pytest.mark.parametrize("depth", [8, 16])
def test_the_colour_of_a_colour_key_is_transparent(depth: int) -> None:
    top = 2**depth - 1
    values = np.random.default_rng(depth).integers(0, top + 1, (HIGH, WIDE, 3))
    key = values[4, 5]
    values[4, 6:9] = key  # and three that differ in one channel by the least there is
    values[4, 6:9] ^= np.eye(3, dtype=np.int64)
    chunk = png_chunk(b"tRNS", struct.pack(">3H", *(int(part) for part in key)))
    shown = pixels(png(depth, 2, packed(values.reshape(HIGH, -1), depth), chunk))
    clear = (values == key).all(axis=2, keepdims=True)
    assert clear.sum() == 1
    assert np.abs(shown - np.where(clear, 255, values * 255 / top)).max() <= 1


def test_an_interlaced_picture_has_a_clear_colour_too() -> None:
    """Of one colour all over: the seven passes have rows of 2, 2, 4, 4, 8, 8 and 16 pixels."""
    pixel = struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
    passes = [(2, 1), (2, 1), (4, 1), (4, 2), (8, 2), (8, 4), (16, 4)]
    rows = b"".join((b"\0" + pixel * wide) * high for wide, high in passes)
    for key, seen in ((pixel, WHITE), (pixel[:5] + b"\xbd", [0x12, 0x56, 0x9A])):
        shown = pixels(png(16, 2, rows, png_chunk(b"tRNS", key), interlaced=True))
        assert np.abs(shown - seen).max() <= 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_with_alphas(depth: int) -> None:
    size = 2**depth
    palette = np.random.default_rng(depth).integers(0, 256, (size, 3))
    alphas = np.full(size, 255)
    alphas[: size // 2] = np.arange(size // 2) * 255 // size
    values = np.arange(WIDE * HIGH).reshape(HIGH, WIDE) % size
    table = png_chunk(b"PLTE", bytes(palette.ravel().tolist()))
    chunk = png_chunk(b"tRNS", bytes(alphas[: size // 2].tolist()))
    shown = pixels(png(depth, 3, packed(values, depth), table, chunk))
    share = alphas[values][:, :, None] / 255
    assert np.abs(shown - (palette[values] * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize("colour_type", [4, 6])
def test_16_bits_with_alpha(colour_type: int) -> None:
    channels = 2 if colour_type == 4 else 4
    values = np.random.default_rng(1).integers(0, 65536, (HIGH, WIDE, channels))
    shown = pixels(png(16, colour_type, packed(values.reshape(HIGH, -1), 16)))
    share = values[:, :, -1:] / 65535
    assert np.abs(shown - (values[:, :, :-1] / 257 * share + 255 * (1 - share))).max() <= 2


def test_a_picture_in_apples_own_form_is_refused_by_name() -> None:
    whole = saved(astronaut((8, 8)), "PNG")
    with pytest.raises(ImageRejected, match=r"a PNG in Apple's own form \(CgBI\) is not read$"):
        pixels(whole[:8] + png_chunk(b"CgBI", bytes(4)) + whole[8:])

"""A PNG encoder: every colour type, bit depth, filter and interlacing.

Source: W3C, Portable Network Graphics (third edition), sections 7 to 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.support.differential.scenes import Array
from tests.support.picture_files import png_chunk

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7 += [(0, 1, 1, 2)]
Chunks = Sequence[tuple[bytes, bytes]]


def png(
    samples: Array,
    colour_type: int,
    depth: int,
    before: Chunks = (),
    interlaced: bool = False,
    row_filter: int = 0,
    parts: int = 1,
) -> bytes:
    """samples: height x width (x channels), whole numbers of `depth` bits. before: chunks between
    header and pixels. row_filter: 0..4. parts: of how many IDAT chunks.
    """
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    rows = b"".join(_rows(part, depth, row_filter) for part in _passes(samples, interlaced))
    packed = zlib.compress(rows)
    step = -(-len(packed) // parts)
    pixels = [(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    chunks = [(b"IHDR", head), *before, *pixels, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _passes(samples: Array, interlaced: bool) -> list[Array]:
    if not interlaced:
        return [samples]
    passes = [samples[top::down, left::right] for left, top, right, down in _ADAM7]
    return [part for part in passes if part.size]


def _rows(samples: Array, depth: int, row_filter: int) -> bytes:
    flat = samples.reshape(samples.shape[0], -1)
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    distance = max(1, channels * depth // 8)
    rows, above = [], None
    for values in flat:
        row = np.frombuffer(packed_bits(values, depth), np.uint8)
        if above is None:
            above = np.zeros_like(row)
        rows.append(bytes([row_filter]) + _filtered(row, above, distance, row_filter))
        above = row
    return b"".join(rows)


def packed_bits(values: Array, depth: int) -> bytes:
    """A row of whole numbers as bits, the most significant first, filled up to whole bytes."""
    if depth == 8:
        return values.astype(np.uint8).tobytes()
    shifts = np.arange(depth - 1, -1, -1)
    bits = (values.astype(np.int64)[:, None] >> shifts) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def _filtered(
    row: NDArray[np.uint8], above: NDArray[np.uint8], distance: int, row_filter: int
) -> bytes:
    x, b = row.astype(int), above.astype(int)
    a = np.concatenate([np.zeros(distance, int), x])[: len(x)]
    c = np.concatenate([np.zeros(distance, int), b])[: len(x)]
    guess = [np.zeros_like(x), a, b, (a + b) // 2, _paeth(a, b, c)][row_filter]
    return bytes(((x - guess) % 256).tolist())


def _paeth(a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.int64]:
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))

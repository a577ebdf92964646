"""A BMP encoder: every header, palettes, run lengths and masks of channels.

Source: Microsoft, BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER; OS/2 BITMAPCOREHEADER.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from tests.support.differential.png_writer import packed_bits
from tests.support.differential.scenes import Array, Bytes8

CORE, INFO, INFO_V2, INFO_V3, V4, V5 = 12, 40, 52, 56, 108, 124
PLAIN, RLE8, RLE4, MASKS = 0, 1, 2, 3


def bmp(
    rows: Sequence[bytes],
    size: tuple[int, int],
    bits: int,
    *,
    header: int = INFO,
    method: int = PLAIN,
    masks: tuple[int, int, int, int] | None = None,
    palette: Bytes8 | None = None,
    top_down: bool = False,
    gap: int = 0,
) -> bytes:
    """rows: from the top, as they stand in the file but for their order and padding; one for run
    lengths. masks: of red, green, blue and alpha. gap: bytes before the pixels.
    """
    width, height = size
    ordered = rows if top_down else rows[::-1]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in ordered)
    if header == CORE:
        head = struct.pack("<IHHHH", CORE, width, height, 1, bits)
    else:
        high = -height if top_down else height
        colours = 0 if palette is None else len(palette)
        head = struct.pack("<IiiHHII", header, width, high, 1, bits, method, len(pixels))
        head += struct.pack("<iiII", 2835, 2835, colours, 0)
        channels = struct.pack("<4I", *masks) if masks else bytes(16)
        if header == INFO:
            head += channels[:12] if masks else b""
        else:
            head += channels[: header - INFO] if header < V4 else channels + b"BGRs"
            head = head.ljust(header, b"\0")
    table = _table(palette, header)
    offset = 14 + len(head) + len(table) + gap
    size_of_file = offset + len(pixels)
    front = b"BM" + struct.pack("<IHHI", size_of_file, 0, 0, offset)
    return front + head + table + bytes(gap) + pixels


def _table(palette: Bytes8 | None, header: int) -> bytes:
    if palette is None:
        return b""
    reserved = b"" if header == CORE else b"\0"
    return b"".join(bytes(colour[::-1].tolist()) + reserved for colour in palette)


def index_rows(indices: Array, bits: int) -> list[bytes]:
    return [packed_bits(row, bits) for row in indices]


def rgb_rows(pixels: Bytes8) -> list[bytes]:
    """24 bits: blue, green, red; with a fourth channel 32 bits."""
    order = [2, 1, 0, *range(3, pixels.shape[2])]
    return [np.ascontiguousarray(row[:, order]).tobytes() for row in pixels]


def masked_rows(values: Array, masks: tuple[int, int, int, int], bits: int) -> list[bytes]:
    """values: height x width x 4, in the whole numbers that each mask has room for."""
    packed = np.zeros(values.shape[:2], np.uint64)
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            packed |= values[..., channel].astype(np.uint64) << np.uint64(shift)
    return [row.astype(f"<u{bits // 8}").tobytes() for row in packed]


def run_lengths(indices: Array, method: int) -> bytes:
    """Runs, literal stretches and ends of lines, from the bottom."""
    data = b""
    for number, row in enumerate(indices[::-1].tolist()):
        data += _encoded_row(row, method, literal=number % 2 == 1) + b"\0\0"
    return data[:-2] + b"\0\1"


def _encoded_row(row: list[int], method: int, literal: bool) -> bytes:
    data, at = b"", 0
    while at < len(row):
        part = row[at : at + 12]
        if literal and len(part) >= 3:
            packed = bytes(part) if method == RLE8 else packed_bits(np.array(part), 4)
            data += bytes([0, len(part)]) + packed + bytes(len(packed) % 2)
            at += len(part)
            continue
        length = next((i for i, value in enumerate(part) if value != part[0]), len(part))
        value = part[0] if method == RLE8 else part[0] * 17
        data += bytes([length, value])
        at += length
    return data

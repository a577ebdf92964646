"""A TIFF encoder for what tifffile does not write: compressed samples of any number of bits,
palettes of fewer than 8, and bytes whose bits are in reverse order.

Source: TIFF 6.0, sections 2 to 9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np

from tests.support.differential.png_writer import packed_bits
from tests.support.differential.scenes import Array

PHOTOMETRICS = {"miniswhite": 0, "minisblack": 1, "rgb": 2, "palette": 3}
COMPRESSIONS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (1, bytes),
    "LZW": (5, lambda data: bytes(imagecodecs.lzw_encode(data))),
    "deflate": (8, zlib.compress),
    "PackBits": (32773, lambda data: bytes(imagecodecs.packbits_encode(data))),
}
_SHORT, _LONG = 3, 4


def packed_tiff(
    samples: Array,
    bits: int,
    photometric: str,
    compression: str = "none",
    *,
    big_endian: bool = False,
    planar: bool = False,
    rows_per_strip: int = 7,
    reversed_bits: bool = False,
    colormap: Array | None = None,
) -> bytes:
    """samples: height x width (x channels). reversed_bits: for uncompressed files. colormap:
    3 x 2**bits, in 16 bits."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    number, compress = COMPRESSIONS[compression]
    planes = [samples[..., i] for i in range(channels)] if planar else [samples]
    strips = [
        b"".join(packed_bits(row.ravel(), bits) for row in plane[top : top + rows_per_strip])
        for plane in planes
        for top in range(0, height, rows_per_strip)
    ]
    if reversed_bits:
        strips = [_reversed(strip) for strip in strips]
    packed = [compress(strip) for strip in strips]
    offsets = [
        8 + sum(len(strip) + len(strip) % 2 for strip in packed[:i]) for i in range(len(packed))
    ]
    body = b"".join(strip + bytes(len(strip) % 2) for strip in packed)
    tags: list[tuple[int, int, list[int]]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [bits] * channels),
        (259, _SHORT, [number]),
        (262, _SHORT, [PHOTOMETRICS[photometric]]),
        (266, _SHORT, [2 if reversed_bits else 1]),
        (273, _LONG, offsets),
        (277, _SHORT, [channels]),
        (278, _LONG, [rows_per_strip]),
        (279, _LONG, [len(strip) for strip in packed]),
        (284, _SHORT, [2 if planar else 1]),
    ]
    if colormap is not None:
        tags.append((320, _SHORT, colormap.ravel().tolist()))
    order = ">" if big_endian else "<"
    start = 8 + len(body)
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", start)
    return head + body + _directory(tags, start, order)


def _directory(tags: list[tuple[int, int, list[int]]], start: int, order: str) -> bytes:
    entries, values = struct.pack(order + "H", len(tags)), b""
    values_at = start + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        value = struct.pack(f"{order}{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)
        entries += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", values_at + len(values))
            values += value
    return entries + bytes(4) + values


def _reversed(data: bytes) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return np.packbits(bits.reshape(-1, 8)[:, ::-1].ravel()).tobytes()

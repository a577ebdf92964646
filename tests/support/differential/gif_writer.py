"""A GIF encoder without compression: frames anywhere, palettes of their own, interlacing.

Source: CompuServe, GIF89a specification.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.support.differential.scenes import Bytes8


@dataclass(frozen=True)
class Frame:
    """indices: height x width. palette: 2, 4, ... 256 x 3; None for the canvas' own. clear: the
    index that is transparent. disposal: 0..3.
    """

    indices: Bytes8
    corner: tuple[int, int] = (0, 0)
    palette: Bytes8 | None = None
    clear: int | None = None
    disposal: int = 0
    interlaced: bool = False


def gif(
    frames: Sequence[Frame],
    canvas: tuple[int, int],
    palette: Bytes8 | None,
    background: int = 0,
    version: bytes = b"89a",
) -> bytes:
    data = b"GIF" + version + struct.pack("<HH", *canvas)
    data += bytes([_flags(palette), background, 0]) + _table(palette)
    for frame in frames:
        if version == b"89a":
            clear = frame.clear is not None
            flags = frame.disposal << 2 | clear
            data += b"\x21\xf9\x04" + struct.pack("<BHBB", flags, 10, frame.clear or 0, 0)
        data += _picture(frame, palette)
    return data + b";"


def _flags(palette: Bytes8 | None) -> int:
    return 0 if palette is None else 0x80 | (len(palette).bit_length() - 2)


def _table(palette: Bytes8 | None) -> bytes:
    return b"" if palette is None else palette.astype(np.uint8).tobytes()


def _picture(frame: Frame, palette: Bytes8 | None) -> bytes:
    height, width = frame.indices.shape
    flags = _flags(frame.palette) | (0x40 if frame.interlaced else 0)
    head = b"," + struct.pack("<HHHHB", *frame.corner, width, height, flags)
    rows = list(range(height))
    if frame.interlaced:
        rows = [y for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in rows[first::step]]
    colours = palette if frame.palette is None else frame.palette
    assert colours is not None
    bits = max(2, len(colours).bit_length() - 1)
    packed = _codes(frame.indices[rows].ravel(), bits)
    blocks = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    body = b"".join(bytes([len(block)]) + block for block in blocks)
    return head + _table(frame.palette) + bytes([bits]) + body + b"\0"


def _codes(indices: Bytes8, bits: int) -> bytes:
    """LZW that clears its table before a code can become longer."""
    clear, end, length = 2**bits, 2**bits + 1, bits + 1
    codes: list[int] = []
    for position, index in enumerate(indices.tolist()):
        if position % (2**bits - 2) == 0:
            codes.append(clear)
        codes.append(index)
    codes.append(end)
    digits = (np.array(codes)[:, None] >> np.arange(length)) & 1
    return np.packbits(digits.astype(np.uint8).ravel(), bitorder="little").tobytes()

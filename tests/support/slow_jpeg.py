"""A JPEG of 200 kB that keeps a decoder busy for half a minute.

It has 64 megapixels in black and hundreds of scans that change nothing.
"""

from __future__ import annotations

import struct

_SIDE = 8000
_RUN = 2**15 - 1  # blocks, the longest run there is


def slow_jpeg(scans: int = 700) -> bytes:
    blocks = (_SIDE // 8) ** 2
    frame = struct.pack(">BHHB", 8, _SIDE, _SIDE, 1) + bytes([1, 0x11, 0])
    black = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8)
    # The code 0 is a run of 2**14 blocks and of as many more as its next 14 bits say.
    unchanged = _bits(("0" + "1" * 14) * (blocks // _RUN + 1))
    refinement = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0x10])) + unchanged
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, bytes([0, *[1] * 64])),
            _segment(0xC2, frame),
            _segment(0xC4, _one_code(0x00, symbol=0x00)),
            _segment(0xC4, _one_code(0x10, symbol=0xE0)),
            black,
            refinement * scans,
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _one_code(table: int, symbol: int) -> bytes:
    """A Huffman table in which the bit 0 is this symbol."""
    return bytes([table, 1, *bytes(15), symbol])


def _bits(text: str) -> bytes:
    padded = text + "1" * (-len(text) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8).replace(b"\xff", b"\xff\0")

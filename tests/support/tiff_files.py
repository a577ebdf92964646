"""TIFF files made number by number, without an imaging library: any depth, layout, byte order and
photometric interpretation, so that a test knows which pixels a file means.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.number]
Order = Literal["<", ">"]

RAW, DEFLATE, PACKBITS = 1, 8, 32773
GREY_FROM_WHITE, GREY, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
ASSOCIATED, UNASSOCIATED = 1, 2
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    samples: Numbers,
    photometric: int,
    *,
    bits: int | None = None,
    order: Order = "<",
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    rows_per_strip: int | None = None,
    compression: int = RAW,
    predictor: int = 1,
    fill_order: int = 1,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> bytes:
    """samples: (height, width, samples a pixel); bits: fewer than their type has. tile: width and
    height. tags: further ones, of 16-bit numbers."""
    high, wide, count = samples.shape
    bits = bits or samples.dtype.itemsize * 8
    size = tile or (wide, rows_per_strip or high)
    planes = [samples[:, :, i : i + 1] for i in range(count)] if planar else [samples]
    parts = [
        _packed(part, bits, order, compression, predictor, fill_order)
        for plane in planes
        for part in _parts(plane, size, padded=tile is not None)
    ]
    starts = [8 + sum(map(len, parts[:i])) for i in range(len(parts))]
    fields: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [wide]),
        257: ("I", [high]),
        258: ("H", [bits] * count),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        266: ("H", [fill_order]),
        277: ("H", [count]),
        284: ("H", [2 if planar else 1]),
        317: ("H", [predictor]),
        339: ("H", [_FORMATS[samples.dtype.kind]] * count),
    }
    if tile:
        fields |= {322: ("I", [tile[0]]), 323: ("I", [tile[1]])}
        fields |= {324: ("I", starts), 325: ("I", [len(part) for part in parts])}
    else:
        fields |= {278: ("I", [size[1]])}
        fields |= {273: ("I", starts), 279: ("I", [len(part) for part in parts])}
    fields |= {tag: ("H", values) for tag, values in (tags or {}).items()}
    return assembled(b"".join(parts), fields, order)


def assembled(
    body: bytes, fields: Mapping[int, tuple[str, Sequence[int]]], order: Order = "<"
) -> bytes:
    """A file whose pixels stand from its eighth byte on."""
    at = 8 + len(body) + len(body) % 2
    after = at + 2 + 12 * len(fields) + 4
    entries, values = b"", b""
    for tag, (form, numbers) in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        kind = {"H": 3, "I": 4}[form]
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", after + len(values))
            values += packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    padded = body + bytes(len(body) % 2)
    return head + padded + struct.pack(f"{order}H", len(fields)) + entries + bytes(4) + values


def _parts(plane: Numbers, size: tuple[int, int], *, padded: bool) -> list[Numbers]:
    wide, high = size
    parts = []
    for row in range(0, plane.shape[0], high):
        for column in range(0, plane.shape[1], wide):
            part = plane[row : row + high, column : column + wide]
            if padded:
                missing = (high - part.shape[0], wide - part.shape[1])
                part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)))
            parts.append(part)
    return parts


def _packed(
    part: Numbers, bits: int, order: Order, compression: int, predictor: int, fill_order: int
) -> bytes:
    if predictor == 2:
        before = np.pad(part, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        part = part - before  # which wraps around
    if bits in (8, 16, 32, 64):
        typed = part.astype(part.dtype.newbyteorder(order))
        data = _by_bytes(part) if predictor == 3 else typed.tobytes()
    else:
        rows = part.reshape(part.shape[0], -1).astype(np.uint32)
        single = (rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(single.astype(np.uint8).reshape(len(rows), -1), axis=1)
        data = packed.tobytes()
    data = _COMPRESSED[compression](data)
    if fill_order == 2:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    return data


def _by_bytes(part: Numbers) -> bytes:
    """The floating point predictor: first bytes of all numbers of a row, then the second ones, and
    each as its difference from the one a pixel before."""
    size = part.dtype.itemsize
    rows = part.astype(part.dtype.newbyteorder(">")).reshape(part.shape[0], -1)
    planes = rows.view(np.uint8).reshape(len(rows), -1, size).transpose(0, 2, 1)
    flat = planes.reshape(len(rows), -1, part.shape[2])
    before = np.pad(flat, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return bytes((flat - before).tobytes())


def _literal(data: bytes) -> bytes:
    """PackBits without a run."""
    pieces = (data[at : at + 128] for at in range(0, len(data), 128))
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


_COMPRESSED: dict[int, Callable[[bytes], bytes]] = {
    RAW: bytes,
    DEFLATE: zlib.compress,
    PACKBITS: _literal,
}

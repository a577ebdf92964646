"""What the boxes of an AVIF or HEIC file say of its primary picture, without a decoder.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (HEIF: pitm, iprp, ispe, irot, imir), 14496-12 8.10 and
23008-12 6.5.5 (clap).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

Size = tuple[int, int]
Box = tuple[int, int]  # the content: its start and end

_MAX_BOXES = 4096  # in one box; a file of a camera has about a hundred


@dataclass(frozen=True, slots=True)
class PrimaryItem:
    """size: as stored, before cropping and turning. crop: numerators and denominators of width,
    height, and of how far its centre is from that of the picture, to the right and down."""

    size: Size
    crop: tuple[int, ...] | None


def primary_item(data: bytes) -> PrimaryItem | None:
    """None when it cannot be told; what is told is checked by nobody."""
    try:
        return _primary_item(data)
    except (struct.error, IndexError, KeyError):
        return None


def crop_box(size: Size, crop: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Left, upper, right and lower edge; None for one that does not lie within the picture."""
    if 0 in crop[1::2]:
        return None
    width, height = crop[0] / crop[1], crop[2] / crop[3]
    left = round(crop[4] / crop[5] + (size[0] - width) / 2)
    upper = round(crop[6] / crop[7] + (size[1] - height) / 2)
    right, lower = left + round(width), upper + round(height)
    inside = 0 <= left < right <= size[0] and 0 <= upper < lower <= size[1]
    return (left, upper, right, lower) if inside else None


def _primary_item(data: bytes) -> PrimaryItem | None:
    start, end = _named(data, (0, len(data)))[b"meta"]
    meta = _named(data, (start + 4, end))
    at = meta[b"pitm"][0]
    (item,) = struct.unpack_from(">I" if data[at] else ">H", data, at + 4)
    properties = _named(data, meta[b"iprp"])
    boxes = list(_boxes(data, properties[b"ipco"]))
    size, crop = None, None
    for index in _properties_of(data, properties[b"ipma"], item):
        name, (at, _) = boxes[index - 1]
        if name == b"ispe":
            size = struct.unpack_from(">II", data, at + 4)
        elif name == b"clap":
            crop = struct.unpack_from(">4IiIiI", data, at)
    return None if size is None else PrimaryItem((size[0], size[1]), crop)


def _properties_of(data: bytes, box: Box, item: int) -> Iterator[int]:
    """Indices from 1 into ipco."""
    at = box[0]
    version, flags = data[at], data[at + 3]
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(min(entries, _MAX_BOXES)):
        (found,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        count, at = data[at], at + 1
        wide = flags & 1
        if found == item:
            form = ">H" if wide else ">B"
            mask = 0x7FFF if wide else 0x7F
            for i in range(count):
                index = struct.unpack_from(form, data, at + i * (1 + wide))[0] & mask
                if index:
                    yield index
            return
        at += count * (1 + wide)


def _named(data: bytes, box: Box) -> dict[bytes, Box]:
    """The first box of each name."""
    found: dict[bytes, Box] = {}
    for name, content in _boxes(data, box):
        found.setdefault(name, content)
    return found


def _boxes(data: bytes, box: Box) -> Iterator[tuple[bytes, Box]]:
    at, end = box
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        (length,) = struct.unpack_from(">I", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif length == 0:
            length = end - at
        if length < head:
            return
        yield data[at + 4 : at + 8], (at + head, min(at + length, end))
        at += length

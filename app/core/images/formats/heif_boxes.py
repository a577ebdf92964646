"""Reads the primary item of an AVIF or HEIC file from its boxes, without a decoder.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (HEIF: pitm, iprp, ispe, irot, imir), 14496-12 8.10 and
23008-12 6.5.5 (clap).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

Size = tuple[int, int]
Box = tuple[int, int]  # the content: its start and end

_ALWAYS_ALLOWED = 2**22  # pixels
_MAX_BOXES = 4096  # in one box; camera files have about a hundred


@dataclass(frozen=True, slots=True)
class PrimaryItem:
    """size: as stored, before crop and rotation. crop: numerators and denominators of width, of
    height, and of the offset of its centre from that of the picture, to the right and down. tiles:
    sizes of the tiles of a grid."""

    size: Size
    crop: tuple[int, ...] | None
    tiles: tuple[Size, ...] = ()

    @property
    def is_covered_once(self) -> bool:
        """Whether the tiles exceed the picture by at most a row and a column, or are small: a
        decoder decodes all of them."""
        if not self.tiles:
            return True
        wide, high = (max(sides) for sides in zip(*self.tiles, strict=True))
        limit = (self.size[0] + wide) * (self.size[1] + high)
        coded = sum(width * height for width, height in self.tiles)
        return bool(coded <= max(limit, _ALWAYS_ALLOWED))


def primary_item(data: bytes) -> PrimaryItem | None:
    """The primary item, unverified; None if it cannot be read."""
    try:
        return _primary_item(data)
    except (struct.error, IndexError, KeyError):
        return None


def crop_box(size: Size, crop: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Left, upper, right and lower edge; None if the crop is not within the picture."""
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
    indices = _associations(data, properties[b"ipma"])
    size, crop = None, None
    for index in indices[item]:
        name, (at, _) = boxes[index - 1]
        if name == b"ispe":
            size = _size(data, at)
        elif name == b"clap":
            crop = struct.unpack_from(">4IiIiI", data, at)
    if size is None:
        return None
    sources = _sources(data, meta[b"iref"], item) if b"iref" in meta else ()
    source_boxes = (boxes[index - 1] for source in sources for index in indices.get(source, ()))
    tiles = tuple(_size(data, at) for name, (at, _) in source_boxes if name == b"ispe")
    return PrimaryItem(size, crop, tiles)


def _size(data: bytes, ispe: int) -> Size:
    width, height = struct.unpack_from(">II", data, ispe + 4)
    return width, height


def _associations(data: bytes, box: Box) -> dict[int, list[int]]:
    """Item -> its 1-based indices into ipco."""
    at = box[0]
    version, wide = data[at], data[at + 3] & 1
    form, mask = (">H", 0x7FFF) if wide else (">B", 0x7F)
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    associations: dict[int, list[int]] = {}
    for _ in range(min(entries, _MAX_BOXES)):
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        count, at = data[at], at + 1
        starts = range(at, at + count * (1 + wide), 1 + wide)
        indices = (struct.unpack_from(form, data, start)[0] & mask for start in starts)
        associations[item] = [index for index in indices if index]
        at += count * (1 + wide)
    return associations


def _sources(data: bytes, box: Box, item: int) -> tuple[int, ...]:
    """The source items of an item: the tiles of a grid."""
    form = "I" if data[box[0]] else "H"
    size = struct.calcsize(form)
    for name, (at, _) in _boxes(data, (box[0] + 4, box[1])):
        (owner,) = struct.unpack_from(f">{form}", data, at)
        if name == b"dimg" and owner == item:
            (count,) = struct.unpack_from(">H", data, at + size)
            return struct.unpack_from(f">{count}{form}", data, at + size + 2)
    return ()


def _named(data: bytes, box: Box) -> dict[bytes, Box]:
    """The first box of each name."""
    first: dict[bytes, Box] = {}
    for name, content in _boxes(data, box):
        first.setdefault(name, content)
    return first


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

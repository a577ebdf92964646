"""The first directory of a TIFF or BigTIFF: integer values by tag. Reads no pixels.

Source: TIFF 6.0 (Adobe, 1992), section 2; for BigTIFF the design of libtiff.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP = 266, 273, 274, 277, 278
STRIP_COUNTS, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH = 279, 284, 317, 320, 322
TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, INK_SET, EXTRA_SAMPLES = 323, 324, 325, 332, 338
SAMPLE_FORMAT, ICC_PROFILE, DNG_VERSION = 339, 34675, 50706

_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
"""Integer types -> their struct formats; 7 is UNDEFINED (bytes)."""

_MAX_ENTRIES = 65_535


@dataclass(frozen=True, slots=True)
class Directory:
    """order: `<` or `>`. Reads values lazily: a small file can claim thousands of tags with
    millions of values each."""

    order: str
    _data: bytes
    _entries: Mapping[int, tuple[str, int, int]]  # form, start, count

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def first(self, tag: int, default: int | None = None) -> int:
        """The first value of a tag. Raises KeyError if it is missing without a default."""
        values = self.values(tag, 1)
        if values:
            return values[0]
        if default is None:
            raise KeyError(tag)
        return default

    def values(self, tag: int, limit: int) -> tuple[int, ...]:
        """Up to `limit` values of a tag; none if it is missing."""
        form, start, count = self._entries.get(tag, ("B", 0, 0))
        return struct.unpack_from(f"{self.order}{min(count, limit)}{form}", self._data, start)

    def raw(self, tag: int) -> bytes | None:
        """The values of a tag as bytes; None if it is missing."""
        if tag not in self._entries:
            return None
        form, start, count = self._entries[tag]
        return self._data[start : start + count * struct.calcsize(form)]


def first_directory(data: bytes) -> Directory:
    """Raises struct.error or ValueError for an incomplete directory. A tag with values outside of
    the data counts as missing."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    address, room = ("Q", 8) if big else ("I", 4)
    (at,) = struct.unpack_from(order + address, data, 8 if big else 4)
    if at > len(data):
        raise ValueError("the directory lies outside the file")
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    size = 4 + 2 * room
    if entries > _MAX_ENTRIES or at + entries * size > len(data):
        raise ValueError("the directory ends outside the file")
    tags: dict[int, tuple[str, int, int]] = {}
    for entry in range(at, at + entries * size, size):
        tag, kind, count = struct.unpack_from(f"{order}HH{address}", data, entry)
        form = _FORMS.get(kind)
        if form is None or tag in tags:
            continue
        length = count * struct.calcsize(form)
        start = entry + 4 + room
        if length > room:
            (start,) = struct.unpack_from(order + address, data, start)
        if start + length <= len(data):
            tags[tag] = form, start, count
    return Directory(order, data, tags)

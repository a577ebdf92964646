"""A writer of HEIF files around HEVC streams: one picture or a grid of tiles, with thumbnail,
transparency, profile, EXIF data and turns.

Source: ISO/IEC 14496-12 (boxes), 14496-15 section 8 (hvcC), 23008-12 (items and their properties).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

_PARAMETER_SETS = (32, 33, 34)
_SUPPLEMENTS = (35, 39, 40)
_TURNS = {1: (), 2: (("imir", 1),), 3: (("irot", 2),), 4: (("imir", 0),)}
_TURNS |= {5: (("irot", 1), ("imir", 0)), 6: (("irot", 3),), 7: (("irot", 3), ("imir", 0))}
_TURNS |= {8: (("irot", 1),)}


@dataclass(frozen=True)
class Coded:
    """A still as HEVC in Annex B. chroma: 0 for grey, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4."""

    stream: bytes
    size: tuple[int, int]
    bits: int = 8
    chroma: int = 1


@dataclass(frozen=True)
class _Item:
    kind: bytes
    data: bytes
    properties: tuple[bytes, ...] = ()
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = field(default=())
    hidden: bool = False


def heif(
    tiles: Sequence[Coded],
    columns: int = 1,
    size: tuple[int, int] | None = None,
    *,
    alpha: Coded | None = None,
    thumbnail: Coded | None = None,
    colour: bytes = b"",
    exif: bytes | None = None,
    orientation: int = 1,
    crop: tuple[int, int] | None = None,
) -> bytes:
    """size: of a grid, which may cut its last tiles. colour: the body of a colr box. exif: a TIFF
    structure. orientation: 1..8, as transformative properties. crop: the size of the upper left
    part that is shown."""
    turns = tuple(_box(name.encode(), bytes([value])) for name, value in _TURNS[orientation])
    if crop is not None:
        turns = (_clean_aperture(crop, tiles[0].size), *turns)
    colours = (_box(b"colr", colour),) if colour else ()
    items: list[_Item] = []
    if len(tiles) == 1:
        items.append(_coded(tiles[0], colours + turns))
    else:
        width, height = size or tiles[0].size
        rows = len(tiles) // columns
        grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
        properties = (_extent((width, height)), _depths(tiles[0]), *colours, *turns)
        parts = tuple(range(2, len(tiles) + 2))
        items.append(_Item(b"grid", grid, properties, ((b"dimg", parts),)))
        items += [_coded(tile, colours, hidden=True) for tile in tiles]
    if alpha is not None:
        kind = _box(b"auxC", bytes(4) + b"urn:mpeg:hevc:2015:auxid:1\0")
        items.append(_coded(alpha, (kind, *turns), ((b"auxl", (1,)),), hidden=True))
    if thumbnail is not None:
        items.append(_coded(thumbnail, turns, ((b"thmb", (1,)),)))
    if exif is not None:
        items.append(_Item(b"Exif", bytes(4) + exif, (), ((b"cdsc", (1,)),), hidden=True))
    return _file(items)


def _coded(
    coded: Coded,
    more: tuple[bytes, ...],
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = (),
    hidden: bool = False,
) -> _Item:
    units = _units(coded.stream)
    slices = [unit for unit in units if unit[0] >> 1 not in (*_PARAMETER_SETS, *_SUPPLEMENTS)]
    data = b"".join(struct.pack(">I", len(unit)) + unit for unit in slices)
    properties = (_configuration(coded, units), _extent(coded.size), _depths(coded), *more)
    return _Item(b"hvc1", data, properties, references, hidden)


def _units(stream: bytes) -> list[bytes]:
    """The NAL units between the start codes."""
    parts = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part.rstrip(b"\0") for part in parts if part]


def _configuration(coded: Coded, units: list[bytes]) -> bytes:
    sequence = next(unit for unit in units if unit[0] >> 1 == 33).replace(b"\0\0\3", b"\0\0")
    body = b"\1" + sequence[3:15] + struct.pack(">H", 0xF000)
    depth = 0xF8 | (coded.bits - 8)
    body += bytes([0xFC, 0xFC | coded.chroma, depth, depth, 0, 0, 0x0F, len(_PARAMETER_SETS)])
    for kind in _PARAMETER_SETS:
        sets = [unit for unit in units if unit[0] >> 1 == kind]
        body += struct.pack(">BH", 0x80 | kind, len(sets))
        body += b"".join(struct.pack(">H", len(unit)) + unit for unit in sets)
    return _box(b"hvcC", body)


def _extent(size: tuple[int, int]) -> bytes:
    return _box(b"ispe", struct.pack(">III", 0, *size))


def _clean_aperture(shown: tuple[int, int], stored: tuple[int, int]) -> bytes:
    """Its position is stored as the distance of its centre from the picture's centre."""
    numbers = [part for side in shown for part in (side, 1)]
    for side, whole in zip(shown, stored, strict=True):
        numbers += [side - whole, 2]
    return _box(b"clap", struct.pack(">4IiIiI", *numbers))


def _depths(coded: Coded) -> bytes:
    channels = 1 if coded.chroma == 0 else 3
    return _box(b"pixi", bytes([0, 0, 0, 0, channels]) + bytes([coded.bits]) * channels)


def _file(items: list[_Item]) -> bytes:
    """The metadata with the places of the items, which depend on its own length."""
    kind = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    start = len(kind) + len(_metadata(items, 0)) + 8
    return kind + _metadata(items, start) + _box(b"mdat", b"".join(item.data for item in items))


def _metadata(items: list[_Item], start: int) -> bytes:
    handler = _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    primary = _box(b"pitm", struct.pack(">IH", 0, 1))
    body = handler + primary + _locations(items, start) + _infos(items) + _references(items)
    return _box(b"meta", bytes(4) + body + _properties(items))


def _locations(items: list[_Item], start: int) -> bytes:
    body = struct.pack(">IBBH", 0, 0x44, 0, len(items))
    for number, item in enumerate(items, 1):
        body += struct.pack(">HHHII", number, 0, 1, start, len(item.data))
        start += len(item.data)
    return _box(b"iloc", body)


def _infos(items: list[_Item]) -> bytes:
    body = struct.pack(">IH", 0, len(items))
    for number, item in enumerate(items, 1):
        flags = 0x02000001 if item.hidden else 0x02000000
        body += _box(b"infe", struct.pack(">IHH", flags, number, 0) + item.kind + b"\0")
    return _box(b"iinf", body)


def _references(items: list[_Item]) -> bytes:
    body = b""
    for number, item in enumerate(items, 1):
        for name, targets in item.references:
            body += _box(name, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
    return _box(b"iref", bytes(4) + body) if body else b""


def _properties(items: list[_Item]) -> bytes:
    """Each property once; those that a reader must know are marked as essential."""
    shared = list(dict.fromkeys(one for item in items for one in item.properties))
    body = struct.pack(">II", 0, sum(bool(item.properties) for item in items))
    for number, item in enumerate(items, 1):
        if not item.properties:
            continue
        body += struct.pack(">HB", number, len(item.properties))
        for one in item.properties:
            essential = one[4:8] in (b"hvcC", b"irot", b"imir", b"clap")
            body += bytes([0x80 * essential | (shared.index(one) + 1)])
    return _box(b"iprp", _box(b"ipco", b"".join(shared)) + _box(b"ipma", body))


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body

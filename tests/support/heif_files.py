"""AVIF and HEIC files put together box by box, so that a test can say what they claim: around one
coded picture, which is that of a file of `tests/support/heic` or one that Pillow made.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.support.picture_files import saved

_HEIC = Path(__file__).with_name("heic")
SIZE = (64, 64)  # of the files there
QUARTERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90))
"""Upper left and right, lower left and right."""

_ESSENTIAL = (b"irot", b"imir", b"clap", b"av1C", b"hvcC")


def heic(name: str) -> bytes:
    """plain, alpha, grey, deep or limited."""
    return _HEIC.joinpath(f"{name}.heic").read_bytes()


def heif_files() -> dict[str, bytes]:
    """Sound ones of many kinds, and odd ones."""
    files = {name: heic(name) for name in ("plain", "alpha", "grey", "deep", "limited")}
    files["AVIF"] = avif()
    for name, file in (("HEIC", heic("plain")), ("AVIF", avif())):
        tile = coded(file)
        turned = coded(file, [clap(40, 32, (12, 1), (-16, 1)), irot(1), imir(0)])
        files[f"{name}, cropped and turned"] = container(turned)
        files[f"{name}, a grid"] = container(grid(2, 2, 100, 70, [2, 3, 4, 5]), *[tile] * 4)
        files[f"{name}, a grid of itself"] = container(grid(2, 2, 128, 128, [1] * 4))
        files[f"{name} of 1x1"] = container(coded(file, size=(1, 1)))
    return files


def box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", len(data) + 8) + name + data


def full_box(name: bytes, version: int, *content: bytes, flags: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *content)


def ispe(width: int, height: int) -> bytes:
    return full_box(b"ispe", 0, struct.pack(">II", width, height))


def irot(quarters: int) -> bytes:
    """Anticlockwise."""
    return box(b"irot", bytes([quarters]))


def imir(axis: int) -> bytes:
    """0: what is above goes below; 1: left goes right."""
    return box(b"imir", bytes([axis]))


def clap(width: int, height: int, right: tuple[int, int], down: tuple[int, int]) -> bytes:
    """right, down: how far the centre is from that of the picture, as fractions."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, *right, *down))


def icc(profile: bytes) -> bytes:
    return box(b"colr", b"prof", profile)


@dataclass(frozen=True)
class Item:
    """kind: `hvc1`, `av01`, `grid`, ... sources: numbers of the items (from 1) it is made of.
    repeats: how often its bytes count. describes: which item it belongs to, of metadata."""

    kind: bytes
    data: bytes
    properties: Sequence[bytes] = ()
    sources: Sequence[int] = ()
    repeats: int = 1
    describes: int = 0


def grid(rows: int, columns: int, width: int, height: int, sources: Sequence[int]) -> Item:
    data = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    return Item(b"grid", data, [ispe(width, height)], sources)


def coded(file: bytes, properties: Sequence[bytes] = (), size: tuple[int, int] = SIZE) -> Item:
    """The picture of a file that has one, with other properties; `size` is what it claims."""
    kind, name = (b"av01", b"av1C") if b"av1C" in file else (b"hvc1", b"hvcC")
    start = file.index(name) - 4
    (length,) = struct.unpack_from(">I", file, start)
    config = file[start : start + length]
    at = file.index(b"mdat") - 4
    (length,) = struct.unpack_from(">I", file, at)
    pixi = full_box(b"pixi", 0, bytes([3, 8, 8, 8]))
    return Item(kind, file[at + 8 : at + length], [config, ispe(*size), pixi, *properties])


def container(
    *items: Item,
    primary: int = 1,
    brand: bytes = b"",
    others: Sequence[bytes] | None = None,
) -> bytes:
    """A file of these items. brand: the major one; others: the compatible ones."""
    av1 = any(item.kind == b"av01" for item in items)
    usual = b"avif" if av1 else b"heic"
    compatible = (b"mif1", b"miaf", usual) if others is None else others
    ftyp = box(b"ftyp", brand or usual, bytes(4), *compatible)
    length = len(ftyp) + len(_meta(items, primary, 0))
    meta = _meta(items, primary, length + 8)
    return ftyp + meta + box(b"mdat", *(item.data for item in items))


def avif() -> bytes:
    """The quarters, as Pillow's encoder has them."""
    picture = Image.new("RGB", SIZE)
    for number, colour in enumerate(QUARTERS):
        left, upper = number % 2 * 32, number // 2 * 32
        picture.paste(colour, (left, upper, left + 32, upper + 32))
    return saved(picture, "AVIF", quality=100, subsampling="4:4:4")


def _meta(items: Sequence[Item], primary: int, start: int) -> bytes:
    handler = full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13))
    infos = [
        full_box(b"infe", 2, struct.pack(">HH4s", number, 0, item.kind), b"\0")
        for number, item in enumerate(items, 1)
    ]
    locations = []
    for number, item in enumerate(items, 1):
        extents = struct.pack(">II", start, len(item.data)) * item.repeats
        locations.append(struct.pack(">HHH", number, 0, item.repeats) + extents)
        start += len(item.data)
    properties = list(dict.fromkeys(one for item in items for one in item.properties))
    links = struct.pack(">I", len(items))
    for number, item in enumerate(items, 1):
        links += struct.pack(">HB", number, len(item.properties))
        for one in item.properties:
            links += bytes([properties.index(one) + 1 | (one[4:8] in _ESSENTIAL) << 7])
    references = []
    for number, item in enumerate(items, 1):
        if item.sources:
            numbers = struct.pack(f">{len(item.sources)}H", *item.sources)
            references.append(_reference(b"dimg", number, len(item.sources), numbers))
        if item.describes:
            references.append(_reference(b"cdsc", number, 1, struct.pack(">H", item.describes)))
    return full_box(
        b"meta",
        0,
        handler,
        full_box(b"pitm", 0, struct.pack(">H", primary)),
        full_box(b"iloc", 0, b"\x44\0", struct.pack(">H", len(items)), *locations),
        full_box(b"iinf", 0, struct.pack(">H", len(items)), *infos),
        full_box(b"iref", 0, *references) if references else b"",
        box(b"iprp", box(b"ipco", *properties), full_box(b"ipma", 0, links)),
    )


def _reference(kind: bytes, number: int, count: int, numbers: bytes) -> bytes:
    return box(kind, struct.pack(">HH", number, count), numbers)

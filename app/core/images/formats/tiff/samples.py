"""Reads the samples of a TIFF: strips or tiles, chunky or planar, 1 to 64 bits. Knows no colours.

Compressed data is wrapped into a synthetic 8-bit grey TIFF, so that Pillow's libtiff decompresses
plain bytes, and the code below reads every depth. Sources: TIFF 6.0 (Adobe, 1992), sections 7 to
15; Adobe Photoshop TIFF Technical Note 3 for the floating point predictor.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.formats.still import TRUNCATED, unsupported
from app.core.images.formats.tiff import directory as tags
from app.core.images.formats.tiff.directory import Directory

Bytes = NDArray[np.uint8]
Samples = NDArray[np.generic]

PACKINGS = frozenset((1, 5, 8, 32773, 32946, 34925, 50000))
"""Byte compressions: none, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard."""

UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
_RAW = 1
_NO_PREDICTOR, _DIFFERENCES, _FLOATS = 1, 2, 3
_MAX_SAMPLES = 16  # a pixel
_MAX_TILE = 2**24  # pixels; more only if the picture is as large
_CHUNK = 2**22  # bytes decompressed at a time, unless a single strip has more
_NUMBERS = {UNSIGNED: "u", UNDEFINED: "u", SIGNED: "i", FLOAT: "f"}
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_REVERSED = np.packbits(_BITS[:, ::-1], axis=1)[:, 0]


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of the samples. kind: a value of the tag SampleFormat."""

    width: int
    height: int
    samples: int
    bits: int
    kind: int
    planar: bool
    compression: int
    predictor: int
    fill_order: int
    segment: tuple[int, int]  # width and height of a tile, or of a strip
    tiled: bool

    @property
    def together(self) -> int:
        """Number of samples of a pixel that are adjacent."""
        return 1 if self.planar else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a segment."""
        return (self.segment[0] * self.together * self.bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of samples, of shape (height, width, samples)."""

    row: int
    column: int
    first_sample: int
    samples: Samples


def layout_of(directory: Directory, signed_bits: tuple[int, ...] = (32,)) -> Layout:
    """signed_bits: supported depths of signed integers. Raises ImageRejected for unsupported
    layouts, KeyError if a required tag is missing."""
    width, height = directory.first(tags.WIDTH), directory.first(tags.HEIGHT)
    samples = directory.first(tags.SAMPLES, 1)
    if not 0 < samples <= _MAX_SAMPLES:
        raise unsupported(f"a TIFF of {samples} samples a pixel")
    depths = set(directory.values(tags.BITS, samples)) or {1}
    kinds = set(directory.values(tags.SAMPLE_FORMAT, samples)) or {UNSIGNED}
    if len(depths) > 1 or len(kinds) > 1:
        raise unsupported("a TIFF whose samples are not all of one kind")
    tiled = tags.TILE_WIDTH in directory
    rows = min(directory.first(tags.ROWS_PER_STRIP, height), height)
    segment = (
        (directory.first(tags.TILE_WIDTH), directory.first(tags.TILE_HEIGHT))
        if tiled
        else (width, rows)
    )
    if min(segment) <= 0 or segment[0] * segment[1] > max(_MAX_TILE, width * height):
        raise ImageRejected(TRUNCATED)
    layout = Layout(
        width=width,
        height=height,
        samples=samples,
        bits=depths.pop(),
        kind=kinds.pop(),
        planar=directory.first(tags.PLANAR, 1) == 2 and samples > 1,
        compression=directory.first(tags.COMPRESSION, _RAW),
        predictor=directory.first(tags.PREDICTOR, _NO_PREDICTOR),
        fill_order=directory.first(tags.FILL_ORDER, 1),
        segment=segment,
        tiled=tiled,
    )
    _check(layout, signed_bits)
    return layout


def _check(layout: Layout, signed_bits: tuple[int, ...]) -> None:
    allowed = {FLOAT: (16, 32, 64), SIGNED: signed_bits}.get(layout.kind, (*range(1, 17), 32))
    if layout.kind not in _NUMBERS or layout.bits not in allowed:
        names = {SIGNED: "signed integers", FLOAT: "floats"}
        name = names.get(layout.kind, "integers" if layout.kind in _NUMBERS else "numbers")
        raise unsupported(f"a TIFF of {layout.bits}-bit {name}")
    if layout.compression == _RAW or layout.predictor == _NO_PREDICTOR:
        return
    if not (
        (layout.predictor == _DIFFERENCES and layout.bits in (8, 16, 32, 64))
        or (layout.predictor == _FLOATS and layout.kind == FLOAT)
    ):
        raise unsupported(f"a TIFF with predictor {layout.predictor} for {layout.bits} bits")


def blocks(data: bytes, directory: Directory, layout: Layout) -> Iterator[Block]:
    """All samples of the picture, a few megabytes at a time. Raises ImageRejected if some are
    missing, and the errors of Pillow for damaged data."""
    wide, high = layout.segment
    across, down = -(-layout.width // wide), -(-layout.height // high)
    per_plane = across * down
    segments = _segments(data, directory, layout, per_plane * (layout.samples // layout.together))
    for number, top, rows in _unpacked(segments, layout, across, per_plane):
        plane, index = divmod(number, per_plane)
        row, column = index // across * high + top, index % across * wide
        samples = _samples(rows, layout, directory.order)
        visible = samples[: max(0, layout.height - row), : layout.width - column]
        yield Block(row, column, plane, visible)


def _segments(data: bytes, directory: Directory, layout: Layout, needed: int) -> list[bytes]:
    at, counts = (
        (tags.TILE_OFFSETS, tags.TILE_COUNTS)
        if layout.tiled
        else (tags.STRIP_OFFSETS, tags.STRIP_COUNTS)
    )
    starts, lengths = directory.values(at, needed), directory.values(counts, needed)
    if needed == 1 and not lengths:
        lengths = (len(data),)
    if len(starts) < needed or len(lengths) < needed:
        raise ImageRejected(TRUNCATED)
    return [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]


def _unpacked(
    segments: list[bytes], layout: Layout, across: int, per_plane: int
) -> Iterator[tuple[int, int, Bytes]]:
    """(index of the segment, its first row here, rows of bytes), a few rows at a time."""
    high = layout.segment[1]
    group = max(1, _CHUNK // (high * layout.row_bytes))
    step = max(1, _CHUNK // layout.row_bytes)
    for first in range(0, len(segments), per_plane):
        for start in range(first, first + per_plane, group):
            end = min(start + group, first + per_plane)
            rows = [_rows(layout, (number - first) // across) for number in range(start, end)]
            read = _reader(segments[start:end], rows, layout)
            taken = 0
            for number, count in zip(range(start, end), rows, strict=True):
                for top in range(0, count, step):
                    yield number, top, read(taken + top, min(step, count - top))
                taken += count


def _rows(layout: Layout, down: int) -> int:
    """Of a segment: the last strip ends with the picture, the last tile does not."""
    high = layout.segment[1]
    return high if layout.tiled else min(high, layout.height - down * high)


def _reader(segments: list[bytes], rows: list[int], layout: Layout) -> Callable[[int, int], Bytes]:
    """(first row, number of rows) -> their bytes, of the rows of these segments on end."""
    if layout.compression != _RAW:
        image = _by_libtiff(segments, rows, layout)
        return lambda top, count: np.asarray(
            image.crop((0, top, layout.row_bytes, top + count)), np.uint8
        )
    needed = [count * layout.row_bytes for count in rows]
    if any(len(segment) < size for segment, size in zip(segments, needed, strict=True)):
        raise ImageRejected(TRUNCATED)
    whole = b"".join(segment[:size] for segment, size in zip(segments, needed, strict=True))
    plain = np.frombuffer(whole, np.uint8).reshape(-1, layout.row_bytes)
    return lambda top, count: (
        _REVERSED[plain[top : top + count]] if layout.fill_order == 2 else plain[top : top + count]
    )


def _by_libtiff(segments: list[bytes], rows: list[int], layout: Layout) -> Image.Image:
    """The unpacked bytes as an image of mode L, as wide as a row has bytes."""
    starts = [8 + sum(map(len, segments[:i])) for i in range(len(segments))]
    body = b"".join(segments)
    count = len(segments)
    tables = struct.pack(f"<{2 * count}I", *starts, *map(len, segments))
    table = 8 + len(body)
    entries = [
        (tags.WIDTH, 4, 1, layout.row_bytes),
        (tags.HEIGHT, 4, 1, sum(rows)),
        (tags.BITS, 4, 1, 8),
        (tags.COMPRESSION, 4, 1, layout.compression),
        (tags.PHOTOMETRIC, 4, 1, 1),
        (tags.FILL_ORDER, 4, 1, layout.fill_order),
        (tags.STRIP_OFFSETS, 4, count, table if count > 1 else starts[0]),
        (tags.SAMPLES, 4, 1, 1),
        (tags.ROWS_PER_STRIP, 4, 1, rows[0]),
        (tags.STRIP_COUNTS, 4, count, table + 4 * count if count > 1 else len(body)),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    at = table + len(tables)
    file = b"II*\0" + struct.pack("<I", at) + body + tables
    file += struct.pack("<H", len(entries)) + directory + bytes(4)
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
        image.load()
        return image


def _samples(rows: Bytes, layout: Layout, order: str) -> Samples:
    """Rows of bytes -> (height, width, samples), without the predictor."""
    number = f"{order}{_NUMBERS[layout.kind]}{layout.bits // 8}"
    shape = (len(rows), layout.segment[0], layout.together)
    predictor = _NO_PREDICTOR if layout.compression == _RAW else layout.predictor
    if layout.bits not in (8, 16, 32, 64):
        return _loose_bits(rows, layout).reshape(shape)
    if predictor == _FLOATS:
        size = layout.bits // 8
        summed = np.cumsum(rows.reshape(len(rows), -1, layout.together), axis=1, dtype=np.uint8)
        planes = summed.reshape(len(rows), size, -1)
        return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{size}").reshape(shape)
    if predictor == _DIFFERENCES:
        whole = np.ascontiguousarray(rows).view(f"{order}u{layout.bits // 8}").reshape(shape)
        plain = np.cumsum(whole, axis=1, dtype=f"=u{layout.bits // 8}")
        return plain.view(f"={number[1:]}")
    return np.ascontiguousarray(rows).view(number).reshape(shape)


def _loose_bits(rows: Bytes, layout: Layout) -> Samples:
    """Samples of 1 to 15 bits, packed without gaps, highest bit first."""
    count = layout.segment[0] * layout.together
    bits = np.unpackbits(rows, axis=1, count=count * layout.bits)
    if layout.bits == 1:
        return bits
    room = 8 if layout.bits < 8 else 16
    padded = np.zeros((len(rows), count, room), np.uint8)
    padded[..., room - layout.bits :] = bits.reshape(len(rows), count, layout.bits)
    return np.packbits(padded, axis=2).view(f">u{room // 8}")

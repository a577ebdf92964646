"""JPEG: checks of the segments before decoding, files without an end marker, reduced decoding of
large photos.

Sources: ITU-T T.81, annexes B and G; the limits on scans in libjpeg-turbo's own fuzzers.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field
from functools import partial

from PIL import Image, ImageChops, ImageFile

from app.core.errors import ImageRejected
from app.core.images.formats.orientation import orientation_of
from app.core.images.formats.still import TRUNCATED, Opened, Still, unsupported
from app.core.images.header_size import Size

MAX_SCANS = 64
"""A decoder processes a progressive picture once per scan. Encoders write about ten scans, at most
a few dozen; a malicious small file can have thousands."""

_END = b"\xff\xd9"
_FILLERS = (_END, bytes(range(1, 128)) * 32 + _END)
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_ALONE = frozenset((0x01, _SOI, *range(0xD0, 0xD8)))  # markers without a segment
_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_READ = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))  # what libjpeg-turbo decodes
_LOSSLESS = frozenset((0xCB, 0xF7))  # arithmetic, and JPEG-LS
_COEFFICIENTS = 64


@dataclass(slots=True)
class Segments:
    """frame: marker of the frame header. ended: the file has an end marker. missing: for each
    component, the coefficients that no scan has completed."""

    frame: int = 0
    precision: int = 0
    size: Size = (0, 0)
    scans: int = 0
    ended: bool = False
    missing: dict[int, set[int]] = field(default_factory=dict)


def read_segments(data: bytes) -> Segments:
    """Read to the end of the first picture or of the data."""
    segments = Segments()
    at = 2
    while (marker := _NEXT_MARKER.search(data, at)) is not None:
        kind, at = marker.group(1)[0], marker.end()
        if kind == _EOI:
            segments.ended = True
            break
        if kind in _ALONE:
            continue
        if at + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, at)
        content = data[at + 2 : at + length]
        if kind in _FRAMES and not segments.frame:
            _read_frame(segments, kind, content)
        elif kind == _SOS:
            _read_scan(segments, content)
        at += max(length, 2)
    return segments


def _read_frame(segments: Segments, kind: int, content: bytes) -> None:
    segments.frame = kind
    segments.precision, height, width, count = struct.unpack_from(">BHHB", content)
    segments.size = width, height
    components = content[6 : 6 + 3 * count : 3]
    segments.missing = {component: set(range(_COEFFICIENTS)) for component in components}


def _read_scan(segments: Segments, content: bytes) -> None:
    segments.scans += 1
    count = content[0]
    components = content[1 : 1 + 2 * count : 2]
    first, last, bits = 0, _COEFFICIENTS - 1, 0
    if segments.frame in _PROGRESSIVE:
        first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if bits & 15 == 0:
        for component in components:
            if component in segments.missing:
                segments.missing[component] -= set(range(first, last + 1))


def open_jpeg(data: bytes, max_pixels: int) -> Opened:
    """A JPEG of up to four times max_pixels is decoded at half width and height. Raises
    ImageRejected for unsupported kinds; struct.error or IndexError for damage."""
    segments = read_segments(data)
    _check(segments)
    width, height = segments.size
    reduced = width * height > max_pixels
    decoded = ((width + 1) // 2, (height + 1) // 2) if reduced else (width, height)
    if segments.ended:
        load = partial(_decoded, data, decoded)
    else:
        load = partial(_completed, data, decoded, segments)
    return Opened((width, height), decoded, load)


def _check(segments: Segments) -> None:
    if segments.frame == 0 or segments.scans == 0:
        raise ImageRejected(TRUNCATED)
    if segments.frame in _LOSSLESS:
        raise unsupported("a lossless JPEG of this kind")
    if segments.frame not in _READ:
        raise unsupported("a hierarchical JPEG")
    if segments.precision != 8:
        raise unsupported(f"a JPEG of {segments.precision} bits")
    if len(segments.missing) not in (1, 3, 4):
        raise unsupported(f"a JPEG of {len(segments.missing)} components")
    if segments.scans > MAX_SCANS:
        raise ImageRejected(
            f"image: a JPEG of {segments.scans} scans; at most {MAX_SCANS} are read"
        )


def _decoded(data: bytes, size: Size) -> Still:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    if image.size != size:
        assert isinstance(image, ImageFile.ImageFile)
        image.draft(None, (image.width // 2, image.height // 2))
    image.load()
    return Still(image, orientation=orientation_of(image))


def _completed(data: bytes, size: Size, segments: Segments) -> Still:
    """Decode a file without an end marker. The missing bytes must not matter: two different fillers
    must give the same pixels. A progressive picture must have all scans, because without the last
    ones it would decode, but blurred."""
    if any(segments.missing.values()):
        raise ImageRejected(TRUNCATED)
    still, other = (_decoded(data + filler, size) for filler in _FILLERS)
    if ImageChops.difference(still.image, other.image).getbbox() is not None:
        raise ImageRejected(TRUNCATED)
    return still

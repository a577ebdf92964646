"""JPEG: what its segments say before a decoder sees it, pictures that lack their last bytes, and
photos of more pixels than are decoded in full.

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
from app.core.images.formats.still import TRUNCATED, Opened, Still, unread
from app.core.images.header_size import Size

MAX_SCANS = 64
"""A progressive picture is gone over once for each of its scans. Encoders make about ten, and at
most a few dozen; a small file can have thousands."""

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
    """frame: the marker of the frame header. ended: there is an end of the picture. missing: for
    each component of it the coefficients that no scan has brought to their last bit."""

    frame: int = 0
    precision: int = 0
    size: Size = (0, 0)
    scans: int = 0
    ended: bool = False
    missing: dict[int, set[int]] = field(default_factory=dict)


def read_segments(data: bytes) -> Segments:
    """Up to the end of the first picture, or to where the data ends."""
    found = Segments()
    at = 2
    while (marker := _NEXT_MARKER.search(data, at)) is not None:
        kind, at = marker.group(1)[0], marker.end()
        if kind == _EOI:
            found.ended = True
            break
        if kind in _ALONE:
            continue
        if at + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, at)
        content = data[at + 2 : at + length]
        if kind in _FRAMES and not found.frame:
            _take_frame(found, kind, content)
        elif kind == _SOS:
            _take_scan(found, content)
        at += max(length, 2)
    return found


def _take_frame(found: Segments, kind: int, content: bytes) -> None:
    found.frame = kind
    found.precision, height, width, count = struct.unpack_from(">BHHB", content)
    found.size = width, height
    components = content[6 : 6 + 3 * count : 3]
    found.missing = {component: set(range(_COEFFICIENTS)) for component in components}


def _take_scan(found: Segments, content: bytes) -> None:
    found.scans += 1
    count = content[0]
    components = content[1 : 1 + 2 * count : 2]
    first, last, bits = 0, _COEFFICIENTS - 1, 0
    if found.frame in _PROGRESSIVE:
        first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if bits & 15 == 0:
        for component in components:
            if component in found.missing:
                found.missing[component] -= set(range(first, last + 1))


def open_jpeg(data: bytes, max_pixels: int) -> Opened:
    """One of up to four times max_pixels is decoded at half its width and height. Raises
    ImageRejected for kinds that are not read; struct.error or IndexError for damage."""
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
        raise unread("a lossless JPEG of this kind")
    if segments.frame not in _READ:
        raise unread("a hierarchical JPEG")
    if segments.precision != 8:
        raise unread(f"a JPEG of {segments.precision} bits")
    if len(segments.missing) not in (1, 3, 4):
        raise unread(f"a JPEG of {len(segments.missing)} components")
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
    """Of a file without an end. Whatever stands in the place of what is missing, the pixels must be
    the same; and of a progressive picture every scan must be there, for without the last ones it is
    whole, only blurred."""
    if any(segments.missing.values()):
        raise ImageRejected(TRUNCATED)
    still, other = (_decoded(data + filler, size) for filler in _FILLERS)
    if ImageChops.difference(still.image, other.image).getbbox() is not None:
        raise ImageRejected(TRUNCATED)
    return still

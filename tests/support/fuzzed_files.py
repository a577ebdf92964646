"""Damaged picture files: a valid file with a few changed, moved or missing bytes.

Or a file with a valid structure and random content.
"""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from tests.support.heif_files import heif_files
from tests.support.picture_files import (
    bombs,
    filled,
    png,
    png_chunk,
    saved,
    scripted_gif,
    sound,
)
from tests.support.profiles import blue_cmyk, linear_grey, rotated_rgb

_SEEDS = [*sound().values(), *heif_files().values(), *bombs().values(), scripted_gif()]
_BEGINNINGS = [b"", *(seed[:30] for seed in _SEEDS)]
_PNG = b"\x89PNG\r\n\x1a\n"
_PROFILES = {"RGB": rotated_rgb(), "L": linear_grey(), "CMYK": blue_cmyk()}
_EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@st.composite
def _tampered(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes with up to five changes."""
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(1, 16))
        match draw(st.sampled_from(("overwrite", "number", "cut", "repeat", "insert", "end"))):
            case "overwrite":
                data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at + length :]
            case "number":
                form = draw(st.sampled_from(("<I", ">I", "<H", ">H", "B")))
                number = draw(st.sampled_from(_EXTREMES)) % 256 ** struct.calcsize(form)
                packed = struct.pack(form, number)
                data = data[:at] + packed + data[at + len(packed) :]
            case "cut":
                data = data[:at] + data[at + length :]
            case "repeat":
                data = data[:at] + data[at : at + length] * draw(st.integers(2, 50)) + data[at:]
            case "insert":
                data = data[:at] + draw(st.binary(min_size=1, max_size=64)) + data[at:]
            case "end":
                data = data[:at]
    return data


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks are believed: without this, hardly any tampered one is looked into."""
    made, at = data[:8], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        made += png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return made


@st.composite
def _tampered_file(draw: st.DrawFn) -> bytes:
    data = draw(_tampered(draw(st.sampled_from(_SEEDS))))
    if data.startswith(_PNG) and draw(st.booleans()):
        return _with_checksums(data)
    return data


@st.composite
def _spliced_file(draw: st.DrawFn) -> bytes:
    head, tail = draw(st.sampled_from(_SEEDS)), draw(st.sampled_from(_SEEDS))
    return head[: draw(st.integers(0, len(head)))] + tail[draw(st.integers(0, len(tail))) :]


@st.composite
def _made_up_png(draw: st.DrawFn) -> bytes:
    sides = st.integers(0, 40) | st.sampled_from(_EXTREMES)
    depth = draw(st.sampled_from((1, 2, 4, 8, 16, 3, 0, 255)))
    colour_type = draw(st.sampled_from((0, 2, 3, 4, 6, 1, 255)))
    return png(draw(sides), draw(sides), depth, colour_type, draw(st.binary(max_size=4000)))


@st.composite
def _with_profile(draw: st.DrawFn) -> bytes:
    mode = draw(st.sampled_from(tuple(_PROFILES)))
    profile = draw(_tampered(_PROFILES[draw(st.sampled_from(tuple(_PROFILES)))]))
    image_format = draw(st.sampled_from(("JPEG", "TIFF", "PNG" if mode != "CMYK" else "JPEG")))
    return saved(filled(mode, 0), image_format, icc_profile=profile)


files = st.one_of(
    _tampered_file(),
    _spliced_file(),
    _made_up_png(),
    _with_profile(),
    st.builds(bytes.__add__, st.sampled_from(_BEGINNINGS), st.binary(max_size=200)),
)

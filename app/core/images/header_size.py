"""Reads the size of a picture from the first bytes of its file, without a decoder.

For an estimate in the api, which does not decode untrusted pictures. The size is unverified;
app.core.images.decode finds the real one.
"""

from __future__ import annotations

import struct

from app.core.images.data_uri import first_bytes
from app.core.images.file_kinds import picture_kind
from app.core.images.formats.heif_boxes import primary_item
from app.core.images.formats.tiff.directory import HEIGHT, WIDTH, first_directory

Size = tuple[int, int]

HEAD_BYTES = 262_144
"""Bytes at the start of a file that contain its size, except in unusual files."""

_SHORT_TEXT = 8192
"""Characters of base64 that contain the size of most files of _SEQUENTIAL kinds."""

_SEQUENTIAL = frozenset(("png", "gif", "bmp", "webp", "jpeg"))
"""Kinds whose size is the same in any head of the file that contains it."""

_NOT_FRAMES = frozenset((0xC4, 0xC8, 0xCC))  # tables and extensions among JPEG's frame headers


def size_of_base64(text: str | bytes) -> Size | None:
    """The size of a picture as base64 or as a data URI; None if unknown."""
    # Most submissions end here: a whole text is searched for what a form decoder has replaced.
    short = text[:_SHORT_TEXT]
    if isinstance(short, str):
        short = short.encode("ascii", "replace")
    if b" " not in short and b"%" not in short:
        head = first_bytes(short, HEAD_BYTES)
        if picture_kind(head) in _SEQUENTIAL and (size := size_of(head)) is not None:
            return size
    return size_of(first_bytes(text, HEAD_BYTES))


def size_of(data: bytes) -> Size | None:
    """(width, height) as stored, before rotation; None if unknown."""
    head = data[:HEAD_BYTES]
    try:
        size = _read(head)
    except (struct.error, IndexError, KeyError, ValueError):
        return None
    return size if size is not None and min(size) > 0 else None


def _read(head: bytes) -> Size | None:
    match picture_kind(head):
        case "png":
            width, height = struct.unpack_from(">II", head, 16)
            return width, height
        case "gif":
            width, height = struct.unpack_from("<HH", head, 6)
            return width, height
        case "bmp":
            return _bmp(head)
        case "webp":
            return _webp(head)
        case "jpeg":
            return _jpeg(head)
        case "tiff":  # if the directory is within the first bytes
            directory = first_directory(head)
            return directory.first(WIDTH), directory.first(HEIGHT)
        case "avif" | "heic" | "heif":
            item = primary_item(head)
            return None if item is None else item.size
    return None


def _bmp(head: bytes) -> Size:
    (header,) = struct.unpack_from("<I", head, 14)
    if header == 12:  # of OS/2
        width, height = struct.unpack_from("<HH", head, 18)
        return width, height
    width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = head[24:27], head[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _jpeg(head: bytes) -> Size | None:
    """Follow the segments to the frame header."""
    at = 2
    while head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", head, at + 2)
            at += 2 + length
    return None

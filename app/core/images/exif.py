"""The EXIF block of a finished picture: the mandatory fields of the standard, and a text as
UserComment. Knows neither picture files nor the meaning of the text.

Source: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

EXIF_IFD_TAG = 0x8769
USER_COMMENT_TAG = 0x9286
ASCII_CODE = b"ASCII\0\0\0"
"""The character code that precedes the text of a UserComment."""

_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_BYTES = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}
_HEADER = b"II*\0" + struct.pack("<I", 8)
_DOTS_PER_INCH = struct.pack("<II", 72, 1)
_INCHES, _CENTRED, _SRGB = (struct.pack("<H", number) for number in (2, 1, 1))


@dataclass(frozen=True, slots=True)
class _Field:
    tag: int
    type: int
    value: bytes


def exif_block(text: str, size: tuple[int, int]) -> bytes:
    """A little-endian TIFF structure with `text` (ASCII) as UserComment of a picture of `size`
    (width, height) in sRGB. 200 bytes longer than the text at most.
    """
    comment = ASCII_CODE + text.encode("ascii")
    width, height = (struct.pack("<I", side) for side in size)
    details = [
        _Field(0x9000, _UNDEFINED, b"0232"),  # ExifVersion
        _Field(0x9101, _UNDEFINED, b"\1\2\3\0"),  # ComponentsConfiguration: Y, Cb, Cr
        _Field(USER_COMMENT_TAG, _UNDEFINED, comment),
        _Field(0xA000, _UNDEFINED, b"0100"),  # FlashpixVersion
        _Field(0xA001, _SHORT, _SRGB),  # ColorSpace
        _Field(0xA002, _LONG, width),  # PixelXDimension
        _Field(0xA003, _LONG, height),  # PixelYDimension
    ]
    main = [
        _Field(0x011A, _RATIONAL, _DOTS_PER_INCH),  # XResolution
        _Field(0x011B, _RATIONAL, _DOTS_PER_INCH),  # YResolution
        _Field(0x0128, _SHORT, _INCHES),  # ResolutionUnit
        _Field(0x0213, _SHORT, _CENTRED),  # YCbCrPositioning
    ]
    end = len(_HEADER) + len(_ifd([*main, _pointer(0)], len(_HEADER)))
    return _HEADER + _ifd([*main, _pointer(end)], len(_HEADER)) + _ifd(details, end)


def _pointer(offset: int) -> _Field:
    return _Field(EXIF_IFD_TAG, _LONG, struct.pack("<I", offset))


def _ifd(fields: list[_Field], offset: int) -> bytes:
    """An image file directory at `offset`, followed by its long values at even offsets. `fields`:
    sorted by tag."""
    entries, values = b"", b""
    values_at = offset + 2 + 12 * len(fields) + 4
    for field in fields:
        value = field.value
        if len(value) > 4:
            value = struct.pack("<I", values_at + len(values))
            values += field.value + b"\0" * (len(field.value) % 2)
        count = len(field.value) // _BYTES[field.type]
        entries += struct.pack("<HHI4s", field.tag, field.type, count, value)
    return struct.pack("<H", len(fields)) + entries + bytes(4) + values

"""EXIF orientation: read from whatever Pillow opened, and undone."""

from __future__ import annotations

import struct

from PIL import Image

_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises for EXIF data that it cannot read.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, struct.error),
)


def orientation_of(image: Image.Image) -> int:
    """1 to 8; 1 when there is none, or when the EXIF data is too damaged to be read. What XMP says
    of it is not read: browsers do not, and Pillow does only where EXIF says nothing."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    try:
        orientation = image.getexif().get(_TAG)
    except _DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turned as the orientation says. ImageOps.exif_transpose would also rewrite the rest of the
    EXIF data, and fails on sound pictures whose other tags are damaged."""
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)

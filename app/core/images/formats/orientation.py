"""EXIF orientation of a Pillow image: reading it, and rotating the image upright."""

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
# Errors of Pillow for damaged EXIF data.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, struct.error),
)


def orientation_of(image: Image.Image) -> int:
    """1 to 8; 1 if there is none or the EXIF data is damaged. Ignores the orientation in XMP, like
    browsers; Pillow would use it if EXIF has none."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    try:
        orientation = image.getexif().get(_TAG)
    except _DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate and mirror by the orientation. ImageOps.exif_transpose would also rewrite the other
    EXIF tags, and fails if one of them is damaged."""
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)

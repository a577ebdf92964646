"""The bytes of a picture file -> its pixels, bounded and upright. Never opens a path or a URL.

A picture is judged by its header before a pixel is decoded: a 20 KB file can hold 169 megapixels.
Memory and time beyond that are the business of the process this runs in.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from app.core.colours import plain_rgb
from app.core.errors import ImageRejected

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# What decoders raise on damaged files. Not Exception: the job's time limit is one too.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error),
)
# A chunk of text or a profile is dropped, so its size is no reason to refuse a picture; what all of
# them may unpack to is bounded by the other figure.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 262, 0
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """The first frame of a picture as RGB in sRGB, turned upright by its EXIF orientation.

    Transparency is laid on white, metadata is dropped. Raises ImageRejected for anything that is
    not a whole picture within the bounds.
    """
    if len(data) > max_bytes:
        raise ImageRejected(f"image: {len(data)} bytes; at most {max_bytes} are allowed")
    with warnings.catch_warnings():
        # Pillow's own size warnings are about limits of its own; ours is checked right below.
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            _check_pixels(picture.size, max_pixels)
            picture.load()
            plain = plain_rgb(_upright(picture))
            return ImageOps.invert(plain) if _is_negative(picture) else plain
        except MemoryError:
            raise ImageRejected("image: decoding it takes more memory than it may") from None
        except Image.DecompressionBombError:
            raise ImageRejected(f"image: at most {max_pixels} pixels are allowed") from None
        except UnidentifiedImageError:
            raise ImageRejected(
                "image: not a picture; JPEG, PNG, WebP, GIF, BMP and TIFF are read"
            ) from None
        except _DAMAGE as error:
            raise ImageRejected("image: the picture is damaged or truncated") from error


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageRejected(
            f"image: {width}x{height} pixels; at most {max_pixels} pixels are allowed"
        )


def _is_negative(picture: Image.Image) -> bool:
    """A TIFF whose 0 is white. Pillow turns those of 8 bits itself, those of 16 bits not."""
    if picture.format != "TIFF" or not picture.mode.startswith("I;16"):
        return False
    tags: Any = getattr(picture, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO)


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says. ImageOps.exif_transpose would also rewrite the rest of
    the EXIF data, and fails on sound pictures whose other tags are damaged."""
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG)
    except _DAMAGE:  # EXIF data too damaged to be read turns nothing
        return picture
    method = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)

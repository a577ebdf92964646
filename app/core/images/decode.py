"""Decodes a picture file to upright RGB pixels, within limits. Never opens a path or a URL.

It checks the header before it decodes a pixel: a 20 KB file can contain 169 megapixels. The process
around it limits memory and time.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from app.core.errors import ImageRejected
from app.core.images.colours import plain_rgb
from app.core.images.file_kinds import READ, complaint, picture_kind
from app.core.images.formats.bmp import open_bmp
from app.core.images.formats.gif import open_gif
from app.core.images.formats.heif import open_avif, open_heic
from app.core.images.formats.jpeg import open_jpeg
from app.core.images.formats.orientation import upright
from app.core.images.formats.png import open_png
from app.core.images.formats.still import TRUNCATED, Opened
from app.core.images.formats.tiff.decode import open_tiff
from app.core.images.formats.webp import open_webp
from app.core.images.header_size import Size, size_of

REDUCED_PIXELS = 4
"""A JPEG of up to this many times the allowed pixels is decoded at half width and height."""

_OPENERS: dict[str, Callable[[bytes], Opened]] = {
    "png": open_png,
    "webp": open_webp,
    "gif": open_gif,
    "bmp": open_bmp,
    "tiff": open_tiff,
    "avif": open_avif,
    "heic": open_heic,
    "heif": open_heic,
}
# Errors of decoders on damaged files. Not Exception: the job's time limit raises one too.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error),
)
# Pillow's size limit is fixed; this module checks its own before it decodes.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """A picture of known size that is not decoded yet."""

    _opened: Opened

    @property
    def pixels(self) -> int:
        """Pixels of the file, which determine the decoding time."""
        width, height = self._opened.size
        return width * height

    def decode(self) -> Image.Image:
        """RGB in sRGB, upright, transparency composited on white, without metadata. Raises
        ImageRejected for a damaged or truncated picture."""
        with _as_rejections():
            still = self._opened.load()
            return upright(plain_rgb(still.image, still.alpha), still.orientation)


def open_picture(data: bytes, max_bytes: int, max_pixels: int) -> OpenedPicture:
    """Read the header. Raises ImageRejected unless it is a picture within the limits."""
    if len(data) > max_bytes:
        raise ImageRejected(f"image: {len(data)} bytes; at most {max_bytes} are allowed")
    kind = picture_kind(data)
    if kind is None:
        raise ImageRejected(f"image: {complaint(data)}; {READ}")
    allowed = max_pixels * REDUCED_PIXELS if kind == "jpeg" else max_pixels
    claimed = size_of(data)
    if claimed is not None:  # some decoders allocate memory for all pixels when they open a file
        _check_pixels(claimed, allowed)
    with _as_rejections():
        opened = open_jpeg(data, max_pixels) if kind == "jpeg" else _OPENERS[kind](data)
    _check_pixels(opened.size, allowed)
    _check_pixels(opened.decoded, max_pixels)
    return OpenedPicture(opened)


def decode(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """The first frame of a picture, like OpenedPicture.decode(). Raises ImageRejected."""
    return open_picture(data, max_bytes, max_pixels).decode()


@contextmanager
def _as_rejections() -> Iterator[None]:
    """Turn errors of decoders into ImageRejected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about unusual files
        try:
            yield
        except MemoryError:
            raise ImageRejected("image: decoding it takes more memory than it may") from None
        except UnidentifiedImageError:
            raise ImageRejected(TRUNCATED) from None
        except _DAMAGE as error:
            raise ImageRejected(TRUNCATED) from error


def _check_pixels(size: Size, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageRejected(
            f"image: {width}x{height} pixels; at most {max_pixels} pixels are allowed"
        )

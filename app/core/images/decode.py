"""The bytes of a picture file -> its pixels, bounded and upright. Never opens a path or a URL.

A picture is judged by its header before a pixel is decoded: a 20 KB file can hold 169 megapixels.
Memory and time beyond that are the business of the process this runs in.
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
"""A JPEG of up to so many times the allowed pixels is decoded at half its width and height."""

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
# What decoders raise on damaged files. Not Exception: the job's time limit is one too.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error),
)
# Pillow's bounds on sizes are fixed figures; ours is checked before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """Of known size, not decoded yet."""

    _opened: Opened

    @property
    def pixels(self) -> int:
        """What the file holds, which the time of its decoder depends on."""
        width, height = self._opened.size
        return width * height

    def decode(self) -> Image.Image:
        """RGB in sRGB, turned upright, transparency laid on white, without metadata. Raises
        ImageRejected for anything that is not a whole picture."""
        with _refusals():
            still = self._opened.load()
            return upright(plain_rgb(still.image, still.alpha), still.orientation)


def open_picture(data: bytes, max_bytes: int, max_pixels: int) -> OpenedPicture:
    """Read the header. Raises ImageRejected for what is not a picture within the bounds."""
    if len(data) > max_bytes:
        raise ImageRejected(f"image: {len(data)} bytes; at most {max_bytes} are allowed")
    kind = picture_kind(data)
    if kind is None:
        raise ImageRejected(f"image: {complaint(data)}; {READ}")
    allowed = max_pixels * REDUCED_PIXELS if kind == "jpeg" else max_pixels
    claimed = size_of(data)
    if claimed is not None:  # some decoders take memory for all pixels when they are opened
        _check_pixels(claimed, allowed)
    with _refusals():
        opened = open_jpeg(data, max_pixels) if kind == "jpeg" else _OPENERS[kind](data)
    _check_pixels(opened.size, allowed)
    _check_pixels(opened.decoded, max_pixels)
    return OpenedPicture(opened)


def decode(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """The first frame of a picture, as OpenedPicture.decode() has it. Raises ImageRejected."""
    return open_picture(data, max_bytes, max_pixels).decode()


@contextmanager
def _refusals() -> Iterator[None]:
    """What decoders raise, as the one exception that a client may see."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about files that are odd
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

"""What a format's module hands on: a picture whose size is known and that is not decoded yet, and
the pixels once it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.header_size import Size

TRUNCATED = "image: the picture is damaged or truncated"


@dataclass(frozen=True, slots=True)
class Still:
    """image: any mode that app.core.images.colours knows, with `icc_profile` in its info. alpha:
    of mode L, for an image whose mode has none. orientation: of EXIF, 1 to 8."""

    image: Image.Image
    alpha: Image.Image | None = None
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """size: as stored, before any turning. decoded: width and height after load(), smaller than
    `size` for a picture that is decoded reduced."""

    size: Size
    decoded: Size
    load: Callable[[], Still]


def unread(what: str) -> ImageRejected:
    """A sound file of a kind that nothing here reads right; `what` with its article."""
    return ImageRejected(f"image: {what} is not read")

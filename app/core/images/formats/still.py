"""The result types of the format modules: an opened picture of known size, and its decoded still
image.
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
    """A decoded picture. image: any mode that app.core.images.colours supports; its info can have
    `icc_profile`. alpha: of mode L, for an image whose mode has none. orientation: EXIF, 1 to 8."""

    image: Image.Image
    alpha: Image.Image | None = None
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture that is not decoded yet. size: as stored, before rotation. decoded: (width, height)
    after load(), smaller than `size` for a reduced JPEG."""

    size: Size
    decoded: Size
    load: Callable[[], Still]


def unsupported(kind: str) -> ImageRejected:
    """The error for a valid file of an unsupported kind; `kind` with its article."""
    return ImageRejected(f"image: {kind} is not read")

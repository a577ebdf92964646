"""WebP: the first frame."""

from __future__ import annotations

import io

from PIL import Image

from app.core.images.formats.orientation import orientation_of
from app.core.images.formats.still import Opened, Still


def open_webp(data: bytes) -> Opened:
    image = Image.open(io.BytesIO(data), formats=("WEBP",))
    return Opened(image.size, image.size, lambda: _load(image))


def _load(image: Image.Image) -> Still:
    image.load()
    return Still(image, orientation=orientation_of(image))

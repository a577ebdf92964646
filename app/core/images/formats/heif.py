"""HEIF: AVIF through Pillow, HEIC through pi-heif (libheif and libde265, decoders only).

Both decode to 8 bits. The orientation of the container applies, that of the EXIF data does not, as
HEIF requires.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pi_heif
from PIL import AvifImagePlugin, Image

from app.core.errors import ImageRejected
from app.core.images.formats.heif_boxes import PrimaryItem, crop_box, primary_item
from app.core.images.formats.orientation import orientation_of
from app.core.images.formats.still import TRUNCATED, Opened, Still, unsupported

# One core per picture: each decoder thread would need more memory.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pi_heif.options.DECODE_THREADS = 1
pi_heif.options.THUMBNAILS = False
pi_heif.options.DEPTH_IMAGES = False
pi_heif.options.AUX_IMAGES = False

_NO_MEMORY = re.compile(r"allocating \d+ bytes failed|out of memory")


def open_avif(data: bytes) -> Opened:
    item = primary_item(data)
    if item is not None and not item.is_covered_once:
        raise ImageRejected(TRUNCATED)
    with _memory_errors():
        image = Image.open(io.BytesIO(data), formats=("AVIF",))
    size = item.size if item is not None else image.size
    return Opened(size, image.size, lambda: _load_avif(image, item))


def _load_avif(image: Image.Image, item: PrimaryItem | None) -> Still:
    with _memory_errors():
        image.load()
    orientation = orientation_of(image)  # Pillow derives it from irot and imir
    if item is not None and item.crop is not None:
        box = crop_box(image.size, item.crop)
        if box is None:
            raise ImageRejected(TRUNCATED)
        profile = image.info.get("icc_profile")
        image = image.crop(box)
        image.info["icc_profile"] = profile
    return Still(image, orientation=orientation)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise MemoryError: both libraries report it only in the text of a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if _NO_MEMORY.search(str(error).lower()):
            raise MemoryError from error
        raise


def open_heic(data: bytes) -> Opened:
    item = primary_item(data)
    if item is None:
        if b"moov" in data:
            raise unsupported("an image sequence without a still picture")
        raise ImageRejected(TRUNCATED)
    if not item.is_covered_once:
        raise ImageRejected(TRUNCATED)
    with _memory_errors():
        file = pi_heif.HeifFile(io.BytesIO(data), remove_stride=False)
    image = file[file.primary_index]
    if not image.info["primary"]:  # for a damaged one, pi-heif returns another image
        raise ImageRejected(TRUNCATED)
    return Opened(item.size, image.size, lambda: _load_heic(image))


def _load_heic(image: pi_heif.HeifImage) -> Still:
    """libheif has applied the rotation. It decodes an incomplete grid to a smaller image."""
    claimed = image.size
    with _memory_errors():
        data = image.data
    if image.size != claimed:
        raise ImageRejected(TRUNCATED)
    picture = Image.frombuffer(image.mode, image.size, data, "raw", image.mode, image.stride, 1)
    profile = image.info.get("icc_profile")
    if profile is not None:
        picture.info["icc_profile"] = profile
    return Still(picture)

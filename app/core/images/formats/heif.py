"""AVIF through Pillow's own decoder, HEIC through pi-heif (libheif and libde265, which decode
only). Both give 8 bits; the orientation of the container is applied, that of its EXIF data is not,
as HEIF demands.
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
from app.core.images.formats.still import TRUNCATED, Opened, Still, unread

# One core a picture: the bound on a decoder's memory would have to grow with its threads.
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
    with _memory_named():
        image = Image.open(io.BytesIO(data), formats=("AVIF",))
    size = item.size if item is not None else image.size
    return Opened(size, image.size, lambda: _load_avif(image, item))


def _load_avif(image: Image.Image, item: PrimaryItem | None) -> Still:
    with _memory_named():
        image.load()
    orientation = orientation_of(image)  # which Pillow made of irot and imir
    if item is not None and item.crop is not None:
        box = crop_box(image.size, item.crop)
        if box is None:
            raise ImageRejected(TRUNCATED)
        profile = image.info.get("icc_profile")
        image = image.crop(box)
        image.info["icc_profile"] = profile
    return Still(image, orientation=orientation)


@contextmanager
def _memory_named() -> Iterator[None]:
    """Both libraries say in a text alone that there was not enough memory."""
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
            raise unread("an image sequence without a still picture")
        raise ImageRejected(TRUNCATED)
    if not item.is_covered_once:
        raise ImageRejected(TRUNCATED)
    with _memory_named():
        file = pi_heif.HeifFile(io.BytesIO(data), remove_stride=False)
    image = file[file.primary_index]
    if not image.info["primary"]:  # of a damaged one pi-heif offers what else there is
        raise ImageRejected(TRUNCATED)
    return Opened(item.size, image.size, lambda: _load_heic(image))


def _load_heic(image: pi_heif.HeifImage) -> Still:
    """libheif has turned it upright. Of a grid that lacks tiles it gives what there is."""
    claimed = image.size
    with _memory_named():
        data = image.data
    if image.size != claimed:
        raise ImageRejected(TRUNCATED)
    picture = Image.frombuffer(image.mode, image.size, data, "raw", image.mode, image.stride, 1)
    profile = image.info.get("icc_profile")
    if profile is not None:
        picture.info["icc_profile"] = profile
    return Still(picture)

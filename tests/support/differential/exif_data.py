"""EXIF data of a camera: the orientation, and a thumbnail that is another picture."""

from __future__ import annotations

import struct

import numpy as np
import piexif

from tests.support.differential.libvips import saved
from tests.support.differential.scenes import Bytes8


def orientation_exif(orientation: int, byte_order: str = ">") -> bytes:
    """A TIFF structure with this one tag."""
    mark = b"MM\0*" if byte_order == ">" else b"II*\0"
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(byte_order + "IH", 8, 1) + entry + bytes(4)


def thumbnail_exif(orientation: int) -> bytes:
    """With a thumbnail of one colour that a decoder must not take for the picture."""
    thumbnail: Bytes8 = np.full((12, 16, 3), (255, 0, 255), np.uint8)
    tags = {
        "0th": {piexif.ImageIFD.Orientation: orientation, piexif.ImageIFD.Make: b"camera"},
        "1st": {piexif.ImageIFD.Compression: 6},
        "thumbnail": saved(thumbnail, ".jpg"),
    }
    return bytes(piexif.dump(tags)).removeprefix(b"Exif\0\0")


def with_jpeg_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Right behind the start of the image."""
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    return jpeg[:2] + segment + jpeg[2:]

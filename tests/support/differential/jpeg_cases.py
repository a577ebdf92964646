"""JPEG: subsampling, progressive scans, colour spaces, and what cameras put in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import imagecodecs
import numpy as np

from tests.support.differential import ffmpeg, image_codecs, libvips
from tests.support.differential.case import Case
from tests.support.differential.exif_data import (
    orientation_exif,
    thumbnail_exif,
    with_jpeg_segment,
)
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Bytes8, Scene, inks, naive_rgb

_SUBSAMPLINGS = ("444", "422", "420", "440", "411")
_QUALITY = 95


def cases(scene: Scene) -> Iterator[Case]:
    yield from _by_libvips(scene)
    yield from _by_imagecodecs(scene)
    yield from _by_ffmpeg(scene)
    yield from _camera(scene)
    yield from _profiles(scene)
    yield from _without_end(scene)


def _by_libvips(scene: Scene) -> Iterator[Case]:
    for name, pixels in (("RGB", scene.rgb), ("grey", scene.grey)):
        for progressive in (False, True):
            for subsample in ("on", "off"):
                for restart in (0, 1, 3):
                    make = partial(
                        libvips.saved,
                        pixels,
                        ".jpg",
                        Q=_QUALITY,
                        interlace=progressive,
                        subsample_mode=subsample,
                        restart_interval=restart,
                    )
                    kind = f"JPEG, {name}{', progressive' * progressive}"
                    yield Case(kind, f"subsampling {subsample}, restarts {restart}", make)
    for quality in (1, 30, 100):
        make = partial(libvips.saved, scene.rgb, ".jpg", Q=quality)
        yield Case("JPEG, RGB", f"quality {quality}", make)


def _by_imagecodecs(scene: Scene) -> Iterator[Case]:
    for name in _SUBSAMPLINGS:
        make = partial(image_codecs.encoded, "jpeg8", scene.rgb, level=_QUALITY, subsampling=name)
        yield Case("JPEG, YCbCr subsampling", name, make)
    make = partial(image_codecs.encoded, "jpeg8", scene.rgb, level=_QUALITY, outcolorspace="RGB")
    yield Case("JPEG, RGB without a transform", "imagecodecs", make)
    # Adobe's files hold the complement, and so do readers believe.
    inverted = 255 - inks(scene)
    encode = partial(image_codecs.encoded, "jpeg8", inverted, level=100, colorspace="CMYK")
    for space in ("CMYK", "YCCK"):
        make = partial(encode, outcolorspace=space)
        yield Case(f"JPEG, {space}", "imagecodecs", make, other=_cmyk_by_imagecodecs)
    make = partial(image_codecs.encoded, "jpeg8", scene.rgb, lossless=True)
    yield Case("JPEG, lossless", "imagecodecs", make)
    deep = scene.deep_grey >> 4
    make = partial(image_codecs.encoded, "jpeg8", deep, level=_QUALITY, bitspersample=12)
    yield Case("JPEG, 12 bits", "imagecodecs", make)


def _cmyk_by_imagecodecs(data: bytes) -> Bytes8:
    """libvips shows CMYK without a profile by a profile of its own."""
    return naive_rgb(255 - imagecodecs.jpeg8_decode(data))


def _by_ffmpeg(scene: Scene) -> Iterator[Case]:
    for layout in ("yuvj420p", "yuvj422p", "yuvj444p"):
        make = partial(ffmpeg.encoded, [scene.rgb], "jpg", "-q:v", "2", "-pix_fmt", layout)
        yield Case("JPEG by ffmpeg", layout, make)


def _camera(scene: Scene) -> Iterator[Case]:
    plain = partial(libvips.saved, scene.rgb, ".jpg", Q=_QUALITY, keep="none")
    for orientation in range(1, 9):
        for name, exif in (
            ("big-endian", orientation_exif(orientation)),
            ("little-endian", orientation_exif(orientation, "<")),
            ("with a thumbnail", thumbnail_exif(orientation)),
        ):
            make = partial(_with_exif, plain, exif)
            yield Case("JPEG, orientation", f"{orientation}, {name}", make)
    yield Case("JPEG of several pictures", "MPF", partial(_multi_picture, scene))
    gain_map = partial(_gain_map, scene)
    yield Case("JPEG with a gain map", "Ultra HDR", gain_map)
    yield Case("JPEG with bytes behind its end", "notes", lambda: plain() + bytes(99) + b"notes")
    make = partial(_with_comment, plain)
    yield Case("JPEG with a comment", "before JFIF", make)


def _without_end(scene: Scene) -> Iterator[Case]:
    """Of a download or a webcam: every pixel is there, the marker behind them is not."""
    for name, progressive, subsample in (
        ("subsampled", False, "on"),
        ("not subsampled", False, "off"),
        ("progressive", True, "on"),
    ):
        whole = partial(
            libvips.saved, scene.rgb, ".jpg", interlace=progressive, subsample_mode=subsample
        )
        for missing in (1, 2):
            make = partial(_cut, whole, missing)
            judge = partial(_completed, missing=missing)
            yield Case("JPEG without its end", f"{name}, {missing} bytes", make, other=judge)


def _cut(whole: partial[bytes], missing: int) -> bytes:
    return whole()[:-missing]


def _completed(data: bytes, missing: int) -> Bytes8:
    return libvips.decoded(data + b"\xff\xd9"[-missing:])


def _with_exif(plain: partial[bytes], exif: bytes) -> bytes:
    return with_jpeg_segment(plain(), 0xE1, b"Exif\0\0" + exif)


def _with_comment(plain: partial[bytes]) -> bytes:
    return with_jpeg_segment(plain(), 0xFE, b"a comment")


def _multi_picture(scene: Scene) -> bytes:
    """Two whole pictures in one file, and an index of them (CIPA DC-007)."""
    first = libvips.saved(scene.rgb, ".jpg", Q=_QUALITY, keep="none")
    second = libvips.saved(255 - scene.rgb, ".jpg", Q=_QUALITY, keep="none")
    index_length = 2 + 2 + 4 + 8 + 2 + 3 * 12 + 4 + 2 * 16
    size = len(first) + index_length
    # Offsets count from the index' byte order mark: behind SOI, marker, length and name.
    second_at = size - (2 + 4 + 4)
    entries = struct.pack(">IIIHH", 0x030000, size, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, len(second), second_at, 0, 0)
    fields = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    fields += struct.pack(">HHII", 0xB001, 4, 1, 2)
    fields += struct.pack(">HHII", 0xB002, 7, 32, 8 + 2 + 3 * 12 + 4)
    index = b"MM\0*" + struct.pack(">IH", 8, 3) + fields + bytes(4) + entries
    return with_jpeg_segment(first, 0xE2, b"MPF\0" + index) + second


def _gain_map(scene: Scene) -> bytes:
    """A phone's picture with a second one that only brighter screens use."""
    linear = (scene.rgb.astype(np.float32) / 255) ** 2.2 * 2
    alpha = np.ones((*linear.shape[:2], 1), np.float32)
    pixels = np.dstack([linear, alpha]).astype(np.float16)
    return image_codecs.encoded("ultrahdr", pixels, level=_QUALITY)


def _profiles(scene: Scene) -> Iterator[Case]:
    for name, profile in PROFILES["RGB"].items():
        make = partial(libvips.saved, scene.rgb, ".jpg", Q=_QUALITY, icc=profile)
        yield Case("JPEG, RGB profile", name, make)
    for name, profile in PROFILES["L"].items():
        make = partial(libvips.saved, scene.grey, ".jpg", Q=_QUALITY, icc=profile)
        yield Case("JPEG, grey profile", name, make)
    for name, profile in PROFILES["CMYK"].items():
        make = partial(
            libvips.saved, inks(scene), ".jpg", interpretation="cmyk", Q=_QUALITY, icc=profile
        )
        yield Case("JPEG, CMYK profile", name, make)

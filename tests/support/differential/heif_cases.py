"""HEIC: depths and subsamplings, one picture and grids of tiles, and what phones put beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from tests.support.differential import ffmpeg, libvips
from tests.support.differential.case import Case
from tests.support.differential.exif_data import orientation_exif
from tests.support.differential.heif_writer import Coded, heif
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Array, Bytes8, Scene, shown, upright

_CHROMAS = {"gray": 0, "yuv420p": 1, "yuv422p": 2, "yuv444p": 3}
_MATRICES = {"smpte170m": (6, "bt601"), "bt709": (1, "bt709")}
_LEAST = 32
_LEAST_FOR_GRIDS = 192
"""Pixels of a side, so that each tile of 64 or more is needed."""


def cases(scene: Scene) -> Iterator[Case]:
    rgb, alpha = _enlarged(scene, _LEAST)
    yield from _layouts(rgb)
    yield from _colours(rgb)
    yield from _grids(_enlarged(scene, _LEAST_FOR_GRIDS)[0])
    yield from _beside(rgb, alpha)


def _enlarged(scene: Scene, least: int) -> tuple[Bytes8, Bytes8]:
    """Even sides, as cameras have them and 4:2:0 needs them."""
    factor = 2 * -(-least // (2 * min(scene.size)))
    rgb = scene.smooth.rgb.repeat(factor, 0).repeat(factor, 1)
    return rgb, scene.alpha.repeat(factor, 0).repeat(factor, 1)


def _coded(
    pixels: Array, layout: str = "yuv420p", matrix: str = "smpte170m", wide: bool = True
) -> Coded:
    name = layout.removesuffix("10le")
    bits = 10 if layout != name else 8
    stream = _stream(pixels.tobytes(), pixels.shape, layout, matrix, wide)
    return Coded(stream, (pixels.shape[1], pixels.shape[0]), bits, _CHROMAS[name])


@cache
def _stream(pixels: bytes, shape: tuple[int, ...], layout: str, matrix: str, wide: bool) -> bytes:
    """One frame, hardly lossy. wide: all numbers are used, not those of films alone."""
    frame = np.frombuffer(pixels, np.uint8).reshape(shape)
    levels = "full" if wide else "limited"
    options = ["-vf", f"scale=out_color_matrix={_MATRICES[matrix][1]}:out_range={levels}"]
    options += ["-pix_fmt", layout, "-colorspace", matrix, "-color_range", "pc" if wide else "tv"]
    options += ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "2", "-frames:v", "1"]
    quiet = "log-level=none:pools=none:frame-threads=1:info=0:keyint=1"
    return ffmpeg.encoded([frame], "hevc", *options, "-x265-params", quiet)


def _nclx(matrix: str, wide: bool) -> bytes:
    return b"nclx" + struct.pack(">HHHB", 1, 13, _MATRICES[matrix][0], 0x80 * wide)


def _file(pixels: Array, layout: str = "yuv420p", **options: Any) -> bytes:
    options = {"colour": _nclx("smpte170m", True)} | options
    return heif([_coded(pixels, layout)], **options)


def _layouts(rgb: Bytes8) -> Iterator[Case]:
    for layout in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"):
        yield Case("HEIC, RGB", layout, partial(_file, rgb, layout), rgb)
    grey = rgb.mean(axis=2).astype(np.uint8)
    yield Case("HEIC, grey", "gray", partial(_file, grey, "gray"), shown(grey, 255))


def _colours(rgb: Bytes8) -> Iterator[Case]:
    for matrix in _MATRICES:
        for wide in (False, True):
            make = partial(_with_colours, rgb, matrix, wide)
            yield Case("HEIC, range and matrix", f"{matrix}, full range {wide}", make, rgb)
    for name in ("Display P3", "turned primaries"):
        colour = b"prof" + PROFILES["RGB"][name]
        make = partial(_file, rgb, "yuv420p", colour=colour)
        yield Case("HEIC, RGB profile", name, make, _in_srgb(rgb, PROFILES["RGB"][name]))


def _with_colours(rgb: Bytes8, matrix: str, wide: bool) -> bytes:
    return heif([_coded(rgb, "yuv420p", matrix, wide)], colour=_nclx(matrix, wide))


def _in_srgb(rgb: Bytes8, profile: bytes) -> Bytes8:
    return libvips.decoded(libvips.saved(rgb, ".png", icc=profile))


def _grids(rgb: Bytes8) -> Iterator[Case]:
    height, width = rgb.shape[:2]
    for columns, rows in ((2, 1), (2, 2), (3, 2)):
        make = partial(_grid, rgb, columns, rows)
        yield Case("HEIC, grid", f"{columns} x {rows} of {width} x {height}", make, rgb)
    make = partial(_grid, rgb, 2, 2, orientation=6)
    yield Case("HEIC, grid", "on its side", make, upright(rgb, 6))


def _grid(rgb: Bytes8, columns: int, rows: int, orientation: int = 1) -> bytes:
    """Tiles of 64 x 64 or more, the last ones filled up by repeating their edges."""
    height, width = rgb.shape[:2]
    side_x = max(64, -(-width // (2 * columns)) * 2)
    side_y = max(64, -(-height // (2 * rows)) * 2)
    margin = ((0, side_y * rows - height), (0, side_x * columns - width), (0, 0))
    whole = np.pad(rgb, margin, mode="edge")
    tiles = [
        _coded(np.ascontiguousarray(whole[y : y + side_y, x : x + side_x]))
        for y in range(0, side_y * rows, side_y)
        for x in range(0, side_x * columns, side_x)
    ]
    colour = _nclx("smpte170m", True)
    return heif(tiles, columns, (width, height), colour=colour, orientation=orientation)


def _beside(rgb: Bytes8, alpha: Bytes8) -> Iterator[Case]:
    for orientation in range(1, 9):
        expected = upright(rgb, orientation)
        make = partial(_file, rgb, orientation=orientation)
        yield Case("HEIC, orientation", str(orientation), make, expected)
        # As phones write it: said twice, to be done once.
        make = partial(_file, rgb, orientation=orientation, exif=orientation_exif(orientation))
        yield Case("HEIC, orientation", f"{orientation}, in EXIF too", make, expected)
    for orientation in (1, 6):
        height, width = rgb.shape[0] - 5, rgb.shape[1] - 7
        make = partial(_file, rgb, crop=(width, height), orientation=orientation)
        expected = upright(rgb[:height, :width], orientation)
        yield Case("HEIC, cropped", f"orientation {orientation}", make, expected)
    thumbnail = partial(_coded, np.ascontiguousarray(255 - rgb[:32, :32]))
    yield Case("HEIC, thumbnail", "one", lambda: _file(rgb, thumbnail=thumbnail()), rgb)
    truth = shown(rgb, 255, alpha)
    transparency = partial(_coded, alpha, "gray")
    yield Case("HEIC, transparent", "one", lambda: _file(rgb, alpha=transparency()), truth)

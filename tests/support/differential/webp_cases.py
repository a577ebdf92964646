"""WebP: lossy and lossless, transparency, animations whose frames stand anywhere, and metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.support.differential import ffmpeg, image_codecs, libvips
from tests.support.differential.case import Case
from tests.support.differential.exif_data import orientation_exif, thumbnail_exif
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Bytes8, Scene, shown, upright

_ALPHA, _EXIF, _ANIMATION = 0x10, 0x08, 0x02


def cases(scene: Scene) -> Iterator[Case]:
    yield from _lossy(scene)
    yield from _lossless(scene)
    yield from _animated(scene)
    yield from _metadata(scene)


def _lossy(scene: Scene) -> Iterator[Case]:
    for name, pixels in (("RGB", scene.rgb), ("RGBA", scene.rgba), ("grey", scene.grey)):
        for quality in (5, 60, 100):
            for smart in (False, True):
                make = partial(
                    libvips.saved, pixels, ".webp", Q=quality, smart_subsample=smart, effort=2
                )
                yield Case(f"WebP, lossy {name}", f"quality {quality}, smart {smart}", make)
    for alpha_quality in (0, 50):
        make = partial(libvips.saved, scene.rgba, ".webp", alpha_q=alpha_quality)
        yield Case("WebP, lossy RGBA", f"quality of alpha {alpha_quality}", make)
    for layout in ("yuv420p", "yuva420p"):
        make = partial(ffmpeg.encoded, [scene.rgba], "webp", "-pix_fmt", layout, "-c:v", "libwebp")
        yield Case("WebP by ffmpeg", layout, make)


def _lossless(scene: Scene) -> Iterator[Case]:
    for name, pixels, truth in (
        ("RGB", scene.rgb, shown(scene.rgb, 255)),
        ("RGBA", scene.rgba, shown(scene.rgb, 255, scene.alpha)),
    ):
        make = partial(libvips.saved, pixels, ".webp", lossless=True)
        yield Case(f"WebP, lossless {name}", "libvips", make, truth)
        make = partial(image_codecs.encoded, "webp", pixels, lossless=True)
        yield Case(f"WebP, lossless {name}", "imagecodecs", make, truth)
        make = partial(libvips.saved, pixels, ".webp", near_lossless=True, Q=60)
        yield Case(f"WebP, near lossless {name}", "libvips", make)


def _animated(scene: Scene) -> Iterator[Case]:
    first, others = scene.rgba, [255 - scene.rgba, scene.rgba[::-1]]
    truth = shown(scene.rgb, 255, scene.alpha)
    for lossless in (False, True):
        make = partial(libvips.animation, [first, *others], ".webp", lossless=lossless)
        name = "lossless" if lossless else "lossy"
        yield Case("WebP, animated", f"{name} by libvips", make, truth if lossless else None)
    make = partial(ffmpeg.encoded, [first, *others], "webp", "-c:v", "libwebp_anim")
    yield Case("WebP, animated", "by ffmpeg", make)
    for left, top in ((0, 0), (4, 2), (10, 8)):
        width, height = scene.size
        if left >= width or top >= height:
            continue
        part = np.ascontiguousarray(scene.rgba[top:, left:])
        canvas = np.zeros_like(scene.rgba)
        canvas[top:, left:] = part
        make = partial(_frames_at, part, (left, top), scene.size)
        expected = shown(canvas[..., :3], 255, canvas[..., 3])
        yield Case("WebP, first frame at an offset", f"{left}, {top}", make, expected)


def _frames_at(frame: Bytes8, corner: tuple[int, int], canvas: tuple[int, int]) -> bytes:
    """Two frames of the same pixels on a canvas whose background is said to be green; viewers leave
    it clear."""
    picture = image_codecs.encoded("webp", frame, lossless=True)[12:]
    height, width = frame.shape[:2]
    head = b"".join(_u24(number // 2) for number in corner)
    head += _u24(width - 1) + _u24(height - 1) + _u24(100) + b"\2"
    chunks = _chunk(b"ANIM", struct.pack("<IH", 0xFF00FF00, 0))
    chunks += 2 * _chunk(b"ANMF", head + _extended_parts(picture))
    return _extended(_ANIMATION | _ALPHA, canvas, chunks)


def _extended_parts(chunks: bytes) -> bytes:
    """Without a VP8X chunk, which only the file as a whole has."""
    return chunks[18:] if chunks.startswith(b"VP8X") else chunks


def _metadata(scene: Scene) -> Iterator[Case]:
    truth = shown(scene.rgb, 255)
    for orientation in range(1, 9):
        for name, exif in (
            ("alone", orientation_exif(orientation)),
            ("with a name before", b"Exif\0\0" + orientation_exif(orientation, "<")),
            ("with a thumbnail", thumbnail_exif(orientation)),
        ):
            make = partial(_with_exif, scene, exif)
            yield Case(
                "WebP, orientation", f"{orientation} {name}", make, upright(truth, orientation)
            )
    for name, profile in PROFILES["RGB"].items():
        make = partial(libvips.saved, scene.rgb, ".webp", lossless=True, icc=profile)
        yield Case("WebP, RGB profile", name, make)
        make = partial(libvips.saved, scene.rgba, ".webp", Q=95, icc=profile)
        yield Case("WebP, RGBA profile", name, make)


def _with_exif(scene: Scene, exif: bytes) -> bytes:
    picture = image_codecs.encoded("webp", scene.rgb, lossless=True)[12:]
    return _extended(_EXIF, scene.size, picture + _chunk(b"EXIF", exif))


def _extended(flags: int, size: tuple[int, int], chunks: bytes) -> bytes:
    head = bytes([flags, 0, 0, 0]) + b"".join(_u24(side - 1) for side in size)
    return _chunk(b"RIFF", b"WEBP" + _chunk(b"VP8X", head) + chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _u24(number: int) -> bytes:
    return number.to_bytes(3, "little")

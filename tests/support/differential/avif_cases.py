"""AVIF: every subsampling and depth, grey, transparency, lossless, animations and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import imagecodecs
import numpy as np

from tests.support.differential import ffmpeg, image_codecs, libvips
from tests.support.differential.case import Case
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Scene, shown

_FAST = {"speed": 10, "numthreads": 1}


def cases(scene: Scene) -> Iterator[Case]:
    # Decoders differ in how they enlarge the colours, which shows at edges alone.
    scene = scene.smooth
    yield from _by_libvips(scene)
    yield from _by_imagecodecs(scene)
    yield from _by_ffmpeg(scene)
    yield from _metadata(scene)


def _by_libvips(scene: Scene) -> Iterator[Case]:
    for bits in (8, 10, 12):
        for subsample in ("on", "off"):
            for name, pixels in (
                ("RGB", scene.rgb),
                ("RGBA", scene.rgba),
                ("grey", scene.grey),
                ("grey and alpha", np.dstack([scene.grey, scene.alpha])),
            ):
                make = partial(
                    libvips.saved,
                    pixels,
                    ".avif",
                    bitdepth=bits,
                    subsample_mode=subsample,
                    effort=0,
                )
                yield Case(f"AVIF, {name} {bits} bits", f"libvips, subsampling {subsample}", make)
    for bits in (10, 12):
        make = partial(libvips.saved, scene.deep, ".avif", bitdepth=bits, Q=90, effort=0)
        yield Case(f"AVIF, RGB {bits} bits", "libvips, from 16 bits", make)
    make = partial(libvips.saved, scene.rgb, ".avif", lossless=True, effort=0)
    yield Case("AVIF, lossless RGB", "libvips", make, shown(scene.rgb, 255))


def _by_imagecodecs(scene: Scene) -> Iterator[Case]:
    for pixel_format in ("YUV444", "YUV422", "YUV420"):
        for name, pixels in (("RGB", scene.rgb), ("RGBA", scene.rgba)):
            make = partial(
                image_codecs.encoded,
                "avif",
                pixels,
                level=90,
                pixelformat=imagecodecs.AVIF.PIXEL_FORMAT[pixel_format],
                **_FAST,
            )
            yield Case(f"AVIF, {name} 8 bits", f"imagecodecs, {pixel_format}", make)
        for bits in (10, 12):
            deep = scene.deep >> (16 - bits)
            make = partial(
                image_codecs.encoded,
                "avif",
                deep,
                level=90,
                bitspersample=bits,
                pixelformat=imagecodecs.AVIF.PIXEL_FORMAT[pixel_format],
                **_FAST,
            )
            yield Case(f"AVIF, RGB {bits} bits", f"imagecodecs, {pixel_format}", make)
    make = partial(image_codecs.encoded, "avif", scene.grey, level=90, **_FAST)
    yield Case("AVIF, grey 8 bits", "imagecodecs", make)
    for name, pixels, truth in (
        ("RGB", scene.rgb, shown(scene.rgb, 255)),
        ("RGBA", scene.rgba, shown(scene.rgb, 255, scene.alpha)),
    ):
        make = partial(image_codecs.encoded, "avif", pixels, level=100, **_FAST)
        yield Case(f"AVIF, lossless {name}", "imagecodecs", make, truth)
    first_frame = partial(ffmpeg.decoded, suffix="avif", size=scene.size)  # libvips reads none
    frames = np.stack([scene.rgb, 255 - scene.rgb, scene.rgb[::-1]])
    make = partial(image_codecs.encoded, "avif", frames, level=90, **_FAST)
    yield Case("AVIF, animated", "imagecodecs", make, other=first_frame)


def _by_ffmpeg(scene: Scene) -> Iterator[Case]:
    for layout in ("yuv420p", "yuv444p", "yuv420p10le", "gray"):
        options = (
            "-pix_fmt",
            layout,
            "-c:v",
            "libaom-av1",
            "-still-picture",
            "1",
            "-cpu-used",
            "8",
        )
        make = partial(ffmpeg.encoded, [scene.rgb], "avif", *options, "-crf", "10")
        yield Case("AVIF by ffmpeg", layout, make)
    first_frame = partial(ffmpeg.decoded, suffix="avif", size=scene.size)
    frames = [scene.rgb, 255 - scene.rgb, scene.rgb[::-1]]
    make = partial(ffmpeg.encoded, frames, "avif", "-c:v", "libaom-av1", "-cpu-used", "8")
    yield Case("AVIF, animated", "ffmpeg", make, other=first_frame)


def _metadata(scene: Scene) -> Iterator[Case]:
    for orientation in range(1, 9):
        make = partial(
            libvips.saved, scene.rgb, ".avif", orientation=orientation, lossless=True, effort=0
        )
        yield Case("AVIF, orientation", str(orientation), make)
    for name, profile in PROFILES["RGB"].items():
        make = partial(libvips.saved, scene.rgb, ".avif", Q=90, icc=profile, effort=0)
        yield Case("AVIF, RGB profile", name, make)
        make = partial(libvips.saved, scene.rgba, ".avif", Q=90, icc=profile, effort=0)
        yield Case("AVIF, RGBA profile", name, make)

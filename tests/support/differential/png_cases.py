"""PNG: every colour type and depth with each transparency it can have, layouts, other chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.support.differential import ffmpeg, image_codecs, libvips
from tests.support.differential.case import Case
from tests.support.differential.exif_data import orientation_exif, thumbnail_exif
from tests.support.differential.png_writer import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, Chunks, png
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Array, Bytes8, Scene, levels, shown, upright


def cases(scene: Scene) -> Iterator[Case]:
    yield from _grey(scene)
    yield from _palette(scene)
    yield from _colours(scene)
    yield from _layouts(scene)
    yield from _metadata(scene)
    yield from _animated(scene)
    yield from _other_encoders(scene)


def _case(
    kind: str,
    variant: str,
    samples: Array,
    colour_type: int,
    depth: int,
    truth: Bytes8,
    before: Chunks = (),
) -> Iterator[Case]:
    """Plain and interlaced."""
    for interlaced in (False, True):
        make = partial(png, samples, colour_type, depth, before, interlaced)
        yield Case(f"PNG, {kind}", f"{variant}{', interlaced' * interlaced}", make, truth)


def _grey(scene: Scene) -> Iterator[Case]:
    for depth in (1, 2, 4, 8, 16):
        samples = scene.deep_grey if depth == 16 else levels(scene.grey, depth)
        top = 2**depth - 1
        yield from _case(f"grey {depth} bits", "plain", samples, GREY, depth, shown(samples, top))
        for key in _some(np.unique(samples)):
            before = [(b"tRNS", struct.pack(">H", key))]
            truth = shown(samples, top, np.where(samples == key, 0, top))
            kind = f"grey {depth} bits with tRNS"
            yield from _case(kind, f"key {key}", samples, GREY, depth, truth, before)


def _some(keys: Array) -> list[int]:
    """Every key of few; the first, the last and three between of many."""
    chosen = keys if len(keys) <= 16 else keys[np.linspace(0, len(keys) - 1, 5).astype(int)]
    return [int(key) for key in chosen]


def _palette(scene: Scene) -> Iterator[Case]:
    for depth in (1, 2, 4, 8):
        count = 2**depth
        samples = levels(scene.grey, depth)
        palette = np.dstack(
            [np.arange(count) * 5 % 256, 255 - np.arange(count), np.arange(count) * 77 % 256]
        )[0].astype(np.uint8)
        table = (b"PLTE", palette.tobytes())
        kind = f"palette {depth} bits"
        yield from _case(
            kind, "plain", samples, PALETTE, depth, shown(palette[samples], 255), [table]
        )
        alphas = np.linspace(255, 0, count).astype(np.uint8)
        for length in {1, count // 2, count}:
            opacity = np.where(np.arange(count) < length, alphas, 255)
            truth = shown(palette[samples], 255, opacity[samples])
            before = [table, (b"tRNS", alphas[:length].tobytes())]
            variant = f"{length} alphas"
            yield from _case(f"{kind} with tRNS", variant, samples, PALETTE, depth, truth, before)


def _colours(scene: Scene) -> Iterator[Case]:
    for depth, rgb in ((8, scene.rgb), (16, scene.deep)):
        top = 2**depth - 1
        alpha = scene.alpha if depth == 8 else scene.alpha.astype(np.uint16) * 257
        grey = scene.grey if depth == 8 else scene.deep_grey
        truth = shown(rgb, top)
        yield from _case(f"RGB {depth} bits", "plain", rgb, RGB, depth, truth)
        rgba, truth = np.dstack([rgb, alpha]), shown(rgb, top, alpha)
        yield from _case(f"RGBA {depth} bits", "plain", rgba, RGBA, depth, truth)
        pair, truth = np.dstack([grey, alpha]), shown(grey, top, alpha)
        yield from _case(f"grey and alpha {depth} bits", "plain", pair, GREY_ALPHA, depth, truth)
        flat = rgb.copy()
        key = flat[0, 0].copy()
        flat[: flat.shape[0] // 2] = key
        alphas = np.where((flat == key).all(axis=2), 0, top)
        before = [(b"tRNS", struct.pack(">3H", *key.tolist()))]
        truth = shown(flat, top, alphas)
        yield from _case(f"RGB {depth} bits with tRNS", "key", flat, RGB, depth, truth, before)
        # A key that differs from the pixels in the last bit alone is no key of theirs.
        near = [(b"tRNS", struct.pack(">3H", *(key ^ 1).tolist()))]
        truth = shown(flat, top)
        yield from _case(f"RGB {depth} bits with tRNS", "near", flat, RGB, depth, truth, near)


def _layouts(scene: Scene) -> Iterator[Case]:
    for row_filter in range(5):
        for depth, samples, kind in (
            (8, scene.rgb, RGB),
            (16, scene.deep, RGB),
            (4, levels(scene.grey, 4), GREY),
        ):
            make = partial(png, samples, kind, depth, row_filter=row_filter)
            truth = shown(samples, 2**depth - 1)
            yield Case("PNG, row filters", f"{row_filter}, {depth} bits", make, truth)
    make = partial(png, scene.rgb, RGB, 8, parts=9)
    yield Case("PNG, pixels in several chunks", "9", make, shown(scene.rgb, 255))


def _metadata(scene: Scene) -> Iterator[Case]:
    truth = shown(scene.rgb, 255)
    for orientation in range(1, 9):
        for exif, what in (
            (orientation_exif(orientation), "alone"),
            (thumbnail_exif(orientation), "with a thumbnail"),
        ):
            make = partial(png, scene.rgb, RGB, 8, [(b"eXIf", exif)])
            yield Case(
                "PNG, orientation", f"{orientation} {what}", make, upright(truth, orientation)
            )
    for name, profile in PROFILES["RGB"].items():
        chunk = (b"iCCP", b"p\0\0" + zlib.compress(profile))
        yield Case("PNG, RGB profile", name, partial(png, scene.rgb, RGB, 8, [chunk]))
        yield Case(
            "PNG, RGB profile", f"{name}, 16 bits", partial(png, scene.deep, RGB, 16, [chunk])
        )
        yield Case("PNG, RGBA profile", name, partial(png, scene.rgba, RGBA, 8, [chunk]))
    for name, profile in PROFILES["L"].items():
        chunk = (b"iCCP", b"p\0\0" + zlib.compress(profile))
        yield Case("PNG, grey profile", name, partial(png, scene.grey, GREY, 8, [chunk]))
        yield Case(
            "PNG, grey profile",
            f"{name}, 16 bits",
            partial(png, scene.deep_grey, GREY, 16, [chunk]),
        )
    harmless = {
        "physical size": (b"pHYs", struct.pack(">IIB", 100, 300, 1)),
        "background": (b"bKGD", struct.pack(">3H", 9, 200, 9)),
        "significant bits": (b"sBIT", b"\5\6\5"),
        "sRGB": (b"sRGB", b"\0"),
        "text": (b"tEXt", b"Comment\0hello"),
        "unknown chunk": (b"abCd", b"hello"),
        "time": (b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5)),
    }
    for name, chunk in harmless.items():
        yield Case("PNG, harmless chunks", name, partial(png, scene.rgb, RGB, 8, [chunk]), truth)


def _animated(scene: Scene) -> Iterator[Case]:
    frames = np.stack([scene.rgb, 255 - scene.rgb, scene.rgb[::-1]])
    yield Case(
        "PNG, animated",
        "imagecodecs",
        partial(image_codecs.encoded, "apng", frames),
        shown(scene.rgb, 255),
    )
    make = partial(ffmpeg.encoded, list(frames), "apng", "-plays", "0")
    yield Case("PNG, animated", "ffmpeg", make, shown(scene.rgb, 255))


def _other_encoders(scene: Scene) -> Iterator[Case]:
    truth, clear = shown(scene.rgb, 255), shown(scene.rgb, 255, scene.alpha)
    for interlace in (False, True):
        make = partial(libvips.saved, scene.rgb, ".png", interlace=interlace)
        yield Case("PNG by libvips", f"RGB, interlaced {interlace}", make, truth)
        make = partial(libvips.saved, scene.rgba, ".png", interlace=interlace)
        yield Case("PNG by libvips", f"RGBA, interlaced {interlace}", make, clear)
        for bits in (1, 2, 4, 8):
            make = partial(
                libvips.saved, scene.rgba, ".png", palette=True, bitdepth=bits, interlace=interlace
            )
            yield Case("PNG by libvips", f"palette of {bits} bits, interlaced {interlace}", make)
    for bits in (1, 2, 4):
        make = partial(libvips.saved, scene.grey, ".png", bitdepth=bits)
        yield Case("PNG by libvips", f"grey of {bits} bits", make)
    for name, pixels, expected in (
        ("RGB", scene.rgb, truth),
        ("RGBA", scene.rgba, clear),
        ("grey", scene.grey, shown(scene.grey, 255)),
        ("RGB of 16 bits", scene.deep, shown(scene.deep, 65535)),
        ("grey of 16 bits", scene.deep_grey, shown(scene.deep_grey, 65535)),
    ):
        make = partial(image_codecs.encoded, "png", pixels)
        yield Case("PNG by imagecodecs", name, make, expected)
    for layout in ("rgb24", "rgba", "rgb48be", "rgba64be", "gray16be", "ya8", "ya16be", "pal8"):
        make = partial(ffmpeg.encoded, [scene.rgba], "png", "-pix_fmt", layout)
        yield Case("PNG by ffmpeg", layout, make)
    make = partial(ffmpeg.encoded, [scene.grey], "png", "-pix_fmt", "monob")
    yield Case("PNG by ffmpeg", "monob", make)

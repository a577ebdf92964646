"""GIF: palettes of every size, transparency, interlacing, frames that do not fill the canvas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.support.differential import ffmpeg, image_codecs, libvips
from tests.support.differential.case import Case
from tests.support.differential.gif_writer import Frame, gif
from tests.support.differential.scenes import Bytes8, Scene, levels, shown


def cases(scene: Scene) -> Iterator[Case]:
    yield from _palettes(scene)
    yield from _frames(scene)
    yield from _other_encoders(scene)


def palette_of(bits: int) -> Bytes8:
    steps = np.arange(2**bits)
    colours = np.column_stack([steps * 5 % 256, 255 - steps, steps * 77 % 256])
    return np.asarray(colours, dtype=np.uint8)


def _palettes(scene: Scene) -> Iterator[Case]:
    for bits in range(1, 9):
        palette = palette_of(bits)
        indices = levels(scene.grey, bits).astype(np.uint8)
        truth = shown(palette[indices], 255)
        for interlaced in (False, True):
            for version in (b"87a", b"89a"):
                frame = Frame(indices, interlaced=interlaced)
                make = partial(gif, [frame], scene.size, palette, version=version)
                variant = f"{2**bits} colours, {version.decode()}{', interlaced' * interlaced}"
                yield Case("GIF, palette of the canvas", variant, make, truth)
            frame = Frame(indices, palette=palette, interlaced=interlaced)
            make = partial(gif, [frame], scene.size, None)
            variant = f"{2**bits} colours{', interlaced' * interlaced}"
            yield Case("GIF, palette of the frame", variant, make, truth)
        for clear in sorted({0, 1, 2**bits - 1}):
            opacity = np.where(indices == clear, 0, 255)
            for background in (0, clear):
                frame = Frame(indices, clear=clear)
                make = partial(gif, [frame], scene.size, palette, background)
                variant = f"{2**bits} colours, {clear} clear, {background} behind"
                yield Case("GIF, transparent", variant, make, shown(palette[indices], 255, opacity))


def _frames(scene: Scene) -> Iterator[Case]:
    palette = palette_of(4)
    other = palette[::-1].copy()
    indices = levels(scene.grey, 4).astype(np.uint8)
    width, height = scene.size
    second = Frame(15 - indices, palette=other)
    truth = shown(palette[indices], 255)
    for disposal in range(4):
        make = partial(gif, [Frame(indices, disposal=disposal), second], scene.size, palette)
        yield Case("GIF, animated", f"disposal {disposal}", make, truth)
    for left, top in ((3, 2), (10, 8)):
        if left >= width or top >= height:
            continue
        part = indices[top:, left:]
        for clear in (None, 5):
            for background in (0, 5):
                canvas = np.zeros((height, width, 4), np.uint8)
                canvas[top:, left:, :3] = palette[part]
                canvas[top:, left:, 3] = np.where(part == clear, 0, 255) if clear else 255
                expected = shown(canvas[..., :3], 255, canvas[..., 3])
                for count in (1, 2):
                    frames = [Frame(part, (left, top), clear=clear), second][:count]
                    make = partial(gif, frames, scene.size, palette, background)
                    variant = f"{left}, {top}; clear {clear}, {background} behind, {count} frames"
                    yield Case("GIF, first frame at an offset", variant, make, expected)


def _other_encoders(scene: Scene) -> Iterator[Case]:
    for name, pixels in (("RGB", scene.rgb), ("RGBA", scene.rgba), ("grey", scene.grey)):
        for interlace in (False, True):
            make = partial(libvips.saved, pixels, ".gif", interlace=interlace)
            yield Case("GIF by libvips", f"{name}, interlaced {interlace}", make)
    frames = [scene.rgba, 255 - scene.rgba, scene.rgba[::-1]]
    yield Case("GIF, animated", "by libvips", partial(libvips.animation, frames, ".gif"))
    yield Case("GIF, animated", "by ffmpeg", partial(ffmpeg.encoded, frames, "gif"))
    make = partial(image_codecs.encoded, "gif", scene.grey)
    yield Case("GIF by imagecodecs", "grey", make, shown(scene.grey, 255))

"""BMP: every header with every kind of pixels that it allows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.support.differential import bmp_writer as writer
from tests.support.differential import ffmpeg, image_codecs
from tests.support.differential.bmp_writer import bmp, index_rows, masked_rows, rgb_rows
from tests.support.differential.case import Case
from tests.support.differential.gif_cases import palette_of
from tests.support.differential.scenes import Scene, levels, shown

_HEADERS = {
    "OS/2": writer.CORE,
    "info": writer.INFO,
    "V2": writer.INFO_V2,
    "V3": writer.INFO_V3,
    "V4": writer.V4,
    "V5": writer.V5,
}
_MASKS = {
    "565": (16, (0xF800, 0x07E0, 0x001F, 0)),
    "555": (16, (0x7C00, 0x03E0, 0x001F, 0)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "8888": (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)),
    "888X": (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0)),
    "RGBA": (32, (0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000)),
}


def cases(scene: Scene) -> Iterator[Case]:
    yield from _palettes(scene)
    yield from _run_lengths(scene)
    yield from _plain(scene)
    yield from _masks(scene)
    yield from _other_encoders(scene)


def _palettes(scene: Scene) -> Iterator[Case]:
    for bits in (1, 4, 8):
        palette = palette_of(bits)
        indices = levels(scene.grey, bits)
        rows, truth = index_rows(indices, bits), shown(palette[indices], 255)
        for name, header in _HEADERS.items():
            for top_down in (False, True) if header != writer.CORE else (False,):
                make = partial(
                    bmp, rows, scene.size, bits, header=header, palette=palette, top_down=top_down
                )
                variant = f"{name}{', top down' * top_down}"
                yield Case(f"BMP, palette {bits} bits", variant, make, truth)
        few = palette[: int(indices.max()) + 1]
        make = partial(bmp, rows, scene.size, bits, palette=few, gap=8)
        yield Case(f"BMP, palette {bits} bits", "few colours and a gap", make, truth)


def _run_lengths(scene: Scene) -> Iterator[Case]:
    for bits, method in ((8, writer.RLE8), (4, writer.RLE4)):
        palette = palette_of(bits)
        # Few colours, so that there are runs.
        indices = levels(scene.grey, 2) * (2**bits // 4)
        data = writer.run_lengths(indices, method)
        make = partial(bmp, [data], scene.size, bits, method=method, palette=palette)
        yield Case(f"BMP, run lengths {bits} bits", "info", make, shown(palette[indices], 255))


def _plain(scene: Scene) -> Iterator[Case]:
    truth = shown(scene.rgb, 255)
    for name, header in _HEADERS.items():
        for top_down in (False, True) if header != writer.CORE else (False,):
            variant = f"{name}{', top down' * top_down}"
            rows = rgb_rows(scene.rgb)
            make = partial(bmp, rows, scene.size, 24, header=header, top_down=top_down)
            yield Case("BMP, 24 bits", variant, make, truth)
    for filler in (0, 255):
        fourth = np.full(scene.alpha.shape, filler, np.uint8)
        rows = rgb_rows(np.dstack([scene.rgb, fourth]))
        make = partial(bmp, rows, scene.size, 32)
        yield Case("BMP, 32 bits without masks", f"filled with {filler}", make, truth)
    values = levels(scene.rgb, 5)
    rows = masked_rows(np.dstack([values, values[..., :1]]), _MASKS["555"][1], 16)
    yield Case("BMP, 16 bits", "555", partial(bmp, rows, scene.size, 16), shown(values, 31))


def _masks(scene: Scene) -> Iterator[Case]:
    for name, (bits, masks) in _MASKS.items():
        depths = [mask.bit_count() for mask in masks]
        channels = [levels(scene.rgb[..., i], depths[i]) for i in range(3)]
        if depths[3]:
            channels.append(levels(scene.alpha, depths[3]))
        else:
            channels.append(np.zeros_like(channels[0]))
        values = np.dstack(channels)
        rows = masked_rows(values, masks, bits)
        scaled = np.dstack([values[..., i] / (2.0 ** depths[i] - 1) for i in range(3)])
        opacity = values[..., 3] / (2.0 ** depths[3] - 1) if depths[3] else None
        for header_name in ("info", "V2", "V3", "V4", "V5"):
            header = _HEADERS[header_name]
            alpha = opacity if header >= writer.INFO_V3 else None
            make = partial(
                bmp, rows, scene.size, bits, header=header, method=writer.MASKS, masks=masks
            )
            yield Case(f"BMP, masks {name}", header_name, make, shown(scaled, 1, alpha))


def _other_encoders(scene: Scene) -> Iterator[Case]:
    truth = shown(scene.rgb, 255)
    make = partial(image_codecs.encoded, "bmp", scene.rgb)
    yield Case("BMP by imagecodecs", "RGB", make, truth)
    make = partial(image_codecs.encoded, "bmp", scene.grey)
    yield Case("BMP by imagecodecs", "grey", make, shown(scene.grey, 255))
    judge = partial(ffmpeg.decoded, suffix="bmp", size=scene.size)
    for layout in ("bgr24", "bgra", "rgb565le", "rgb555le", "gray", "pal8"):
        make = partial(ffmpeg.encoded, [scene.rgb], "bmp", "-pix_fmt", layout)
        yield Case("BMP by ffmpeg", layout, make, other=judge)

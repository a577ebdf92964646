"""The samples of TIFF files by photometric interpretation and depth, and what a viewer shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support.differential import libvips
from tests.support.differential.scenes import (
    Array,
    Bytes8,
    Scene,
    inks,
    levels,
    naive_rgb,
    shown,
)


@dataclass(frozen=True)
class Samples:
    """pixels: height x width (x samples). bits: of a sample, where the type has more. options:
    those of tifffile.write that say what the samples mean.
    """

    name: str
    pixels: Array
    truth: Bytes8
    bits: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def all_samples(scene: Scene) -> Iterator[Samples]:
    yield from _grey(scene)
    yield from _rgb(scene)
    yield from _transparent(scene)
    yield from _inks(scene)
    yield from _palettes(scene)
    yield from _lab(scene)


def whole_numbers(values: Array, bits: int) -> Array:
    """Values of 16 bits as unsigned numbers of `bits`, in the smallest type that holds them."""
    kind = np.dtype(f"uint{next(size for size in (8, 16, 32) if size >= bits)}")
    return np.rint(values.astype(float) / 65535 * (2.0**bits - 1)).astype(kind)


def _grey(scene: Scene) -> Iterator[Samples]:
    for bits in (*(1, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32),):
        pixels = whole_numbers(scene.deep_grey, bits)
        truth = shown(pixels, 2.0**bits - 1)
        for photometric, expected in (("minisblack", truth), ("miniswhite", 255 - truth)):
            name = f"{'grey' if photometric == 'minisblack' else 'negative grey'} {bits} bits"
            packed = bits if bits not in (8, 16, 32) else None
            yield Samples(name, pixels, expected, packed, {"photometric": photometric})
    for kind in ("float16", "float32", "float64"):
        pixels = (scene.deep_grey / 65535).astype(kind)
        yield Samples(f"grey {kind}", pixels, shown(pixels, 1), None, {"photometric": "minisblack"})


def _rgb(scene: Scene) -> Iterator[Samples]:
    options = {"photometric": "rgb"}
    for bits in (4, 8, 10, 12, 14, 16, 32):
        pixels = whole_numbers(scene.deep, bits)
        packed = bits if bits not in (8, 16, 32) else None
        yield Samples(f"RGB {bits} bits", pixels, shown(pixels, 2.0**bits - 1), packed, options)
    for kind in ("float16", "float32", "float64"):
        pixels = (scene.deep / 65535).astype(kind)
        yield Samples(f"RGB {kind}", pixels, shown(pixels, 1), None, options)


def _transparent(scene: Scene) -> Iterator[Samples]:
    for bits in (8, 16):
        kind, top = f"uint{bits}", 2**bits - 1
        alpha = np.rint(scene.alpha / 255 * top)
        for name, values, photometric in (
            ("RGB", whole_numbers(scene.deep, bits), "rgb"),
            ("grey", whole_numbers(scene.deep_grey, bits), "minisblack"),
        ):
            truth = shown(values, top, alpha)
            opacity = alpha / top if values.ndim == 2 else (alpha / top)[..., None]
            for extra, colours in (("unassalpha", values), ("assocalpha", values * opacity)):
                pixels = np.dstack([np.rint(colours), alpha]).astype(kind)
                options = {"photometric": photometric, "extrasamples": [extra]}
                title = f"{name} {bits} bits with {extra}"
                yield Samples(title, pixels, truth, None, options)
            pixels = np.dstack([values, alpha]).astype(kind)
            options = {"photometric": photometric, "extrasamples": ["unspecified"]}
            yield Samples(
                f"{name} {bits} bits with another sample", pixels, shown(values, top), None, options
            )


def _inks(scene: Scene) -> Iterator[Samples]:
    cmyk = inks(scene)
    options = {"photometric": "separated"}
    yield Samples("CMYK 8 bits", cmyk, naive_rgb(cmyk), None, options)
    pixels = np.dstack([cmyk, scene.alpha])
    truth = shown(naive_rgb(cmyk), 255, scene.alpha)
    with_alpha: dict[str, Any] = {**options, "extrasamples": ["unassalpha"]}
    yield Samples("CMYK 8 bits with unassalpha", pixels, truth, None, with_alpha)
    yield Samples("CMYK 16 bits", cmyk.astype(np.uint16) * 257, naive_rgb(cmyk), None, options)


def _palettes(scene: Scene) -> Iterator[Samples]:
    for bits in (1, 2, 4, 8):
        count = 2**bits
        steps = np.arange(count)
        table = np.array([steps * 5 % 256, 255 - steps, steps * 77 % 256]) * 257
        pixels = levels(scene.grey, bits).astype(np.uint8)
        truth = shown(table.T[pixels], 65535)
        options = {"photometric": "palette", "colormap": table.astype(np.uint16)}
        packed = bits if bits < 8 else None
        yield Samples(f"palette {bits} bits", pixels, truth, packed, options)


_TO_XYZ_D50 = np.array(
    [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
)


def _lab(scene: Scene) -> Iterator[Samples]:
    exact = libvips.image(scene.rgb).colourspace("lab").numpy()
    for bits in (8, 16):
        top, scale = 2**bits - 1, 2 ** (bits - 8)
        lightness = np.rint(exact[..., :1] / 100 * top)
        hues = np.rint(exact[..., 1:] * scale)
        values = np.dstack([lightness / top * 100, hues / scale]).astype(np.float32)
        truth = libvips.image(values, "lab").colourspace("srgb").numpy()
        signed = np.dstack([lightness, hues % 2**bits]).astype(f"uint{bits}")
        options: dict[str, Any] = {"photometric": "cielab"}
        yield Samples(f"Lab {bits} bits", signed, truth, None, options)
        options = {"photometric": "icclab"}
        yield Samples(f"ICC Lab {bits} bits", _icc_lab(scene, bits), scene.rgb, None, options)


def _icc_lab(scene: Scene, bits: int) -> Array:
    """From the white of D50, which libvips does not know."""
    parts = scene.rgb / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ_D50.T / _TO_XYZ_D50.sum(axis=1)
    roots = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    x, y, z = np.moveaxis(roots, -1, 0)
    lightness = (116 * y - 16) / 100 * (255 if bits == 8 else 65280)
    hues = [(hue + 128) * 2 ** (bits - 8) for hue in (500 * (x - y), 200 * (y - z))]
    return np.rint(np.dstack([lightness, *hues])).astype(f"uint{bits}")

"""The samples of TIFF files by photometric interpretation and depth, and what a viewer shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


_TO_XYZ_D65 = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_TO_XYZ_D50 = np.array(
    [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
)


def _lab(scene: Scene) -> Iterator[Samples]:
    """CIE Lab is of D65, as TIFF 6.0 and libvips have it, ICC Lab of D50. libvips cannot read 8
    bits, and takes ICC Lab for CIE Lab."""
    cie, icc = _lab_of(scene.rgb, _TO_XYZ_D65), _lab_of(scene.rgb, _TO_XYZ_D50)
    truth = shown(scene.rgb, 255)
    for bits in (8, 16):
        top, scale = 2**bits - 1, 2 ** (bits - 8)
        hues = np.rint(cie[..., 1:] * scale)
        signed = np.dstack([np.rint(cie[..., :1] / 100 * top), hues % 2**bits])
        options: dict[str, Any] = {"photometric": "cielab"}
        yield Samples(f"Lab {bits} bits", signed.astype(f"uint{bits}"), truth, None, options)
        # The lightness of 16 bits ends at 0xFF00.
        hues = np.rint(icc[..., 1:] * scale)
        shifted = np.dstack([np.rint(icc[..., :1] / 100 * 255 * scale), hues + 128 * scale])
        options = {"photometric": "icclab"}
        yield Samples(f"ICC Lab {bits} bits", shifted.astype(f"uint{bits}"), truth, None, options)


def _lab_of(rgb: Bytes8, to_xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 of sRGB, for the white of a matrix (IEC 61966-2-1, ICC.1)."""
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    relative = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    x, y, z = np.moveaxis(
        np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116), -1, 0
    )
    return np.dstack([116 * y - 16, 500 * (x - y), 200 * (y - z)])

"""TIFF: each kind of samples in every layout, byte order and compression; pages, thumbnails."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import tifffile

from tests.support.differential import ffmpeg, libvips
from tests.support.differential.case import Case
from tests.support.differential.profiles import PROFILES
from tests.support.differential.scenes import Array, Scene, inks, shown, upright
from tests.support.differential.tiff_pixels import Samples, all_samples
from tests.support.differential.tiff_writer import COMPRESSIONS, packed_tiff

ByteOrder: TypeAlias = Literal["<", ">"]
_LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
}
_COMPRESSIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "LZW": {"compression": "lzw"},
    "LZW with predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "adobe_deflate"},
    "deflate with predictor": {"compression": "adobe_deflate", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "LZMA": {"compression": "lzma"},
    "zstd": {"compression": "zstd"},
}
_FORMS: dict[str, tuple[ByteOrder, bool]] = {
    "little-endian": ("<", False),
    "big-endian": (">", False),
    "BigTIFF": ("<", True),
}


def cases(scene: Scene) -> Iterator[Case]:
    for samples in all_samples(scene):
        yield from _packed(samples) if samples.bits else _layouts(samples)
    yield from _pages(scene)
    yield from _orientations(scene)
    yield from _profiles(scene)
    yield from _lossy(scene)
    yield from _by_libvips(scene)
    yield from _by_ffmpeg(scene)


def tiff(pixels: Array, byte_order: ByteOrder = "<", big: bool = False, **options: Any) -> bytes:
    """By tifffile. pixels: height x width (x samples), which planarconfig separates."""
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, 2, 0)
    return _written([(pixels, options)], byte_order, big)


def _written(
    pages: list[tuple[Array, dict[str, Any]]], byte_order: ByteOrder = "<", big: bool = False
) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=byte_order, bigtiff=big) as writer:
        for pixels, options in pages:
            writer.write(
                np.ascontiguousarray(pixels), metadata=None, software=False, maxworkers=1, **options
            )
    return buffer.getvalue()


def _layouts(samples: Samples) -> Iterator[Case]:
    planes = ("contig", "separate") if samples.pixels.ndim == 3 else ("contig",)
    for plane in planes:
        kind = f"TIFF, {samples.name}{', planar' * (plane == 'separate')}"
        for layout, layout_options in _LAYOUTS.items():
            for compression, compression_options in _COMPRESSIONS.items():
                if "predictor" in compression and not _has_differences(samples):
                    continue
                for form, (byte_order, big) in _FORMS.items():
                    options = {**samples.options, **layout_options, **compression_options}
                    if samples.pixels.ndim == 3:
                        options["planarconfig"] = plane
                    make = partial(tiff, samples.pixels, byte_order, big, **options)
                    yield Case(kind, f"{layout}, {compression}, {form}", make, samples.truth)


def _has_differences(samples: Samples) -> bool:
    return "colormap" not in samples.options and samples.pixels.dtype != np.float64


def _packed(samples: Samples) -> Iterator[Case]:
    """Samples of fewer bits than their type has."""
    assert samples.bits is not None
    for planar in (False, True) if samples.pixels.ndim == 3 else (False,):
        kind = f"TIFF, {samples.name}{', planar' * planar}"
        for compression in COMPRESSIONS:
            for big_endian in (False, True):
                for reversed_bits in (False, True) if compression == "none" else (False,):
                    make = partial(
                        packed_tiff,
                        samples.pixels,
                        samples.bits,
                        compression=compression,
                        big_endian=big_endian,
                        planar=planar,
                        reversed_bits=reversed_bits,
                        **samples.options,
                    )
                    variant = f"{compression}{', big-endian' * big_endian}"
                    variant += ", bits reversed" * reversed_bits
                    yield Case(kind, variant, make, samples.truth)
        if samples.bits in (12, 10, 14) and not planar:
            make = partial(
                tiff, samples.pixels, bitspersample=samples.bits, tile=(16, 16), **samples.options
            )
            yield Case(kind, "tiles by tifffile", make, samples.truth)


def _pages(scene: Scene) -> Iterator[Case]:
    first, second = scene.rgb, 255 - scene.rgb[::2, ::2]
    truth = shown(first, 255)
    rgb = {"photometric": "rgb"}
    make = partial(_written, [(first, rgb), (second, rgb), (scene.grey, {})])
    yield Case("TIFF of several pages", "three", make, truth)
    make = partial(_written, [(first, {**rgb, "subifds": 1}), (second, {**rgb, "subfiletype": 1})])
    yield Case("TIFF with a thumbnail", "in a SubIFD", make, truth)
    make = partial(_written, [(first, rgb), (second, {**rgb, "subfiletype": 1})])
    yield Case("TIFF with a thumbnail", "as second page", make, truth)


def _orientations(scene: Scene) -> Iterator[Case]:
    truth = shown(scene.rgb, 255)
    for orientation in range(1, 9):
        tag = [(274, 3, 1, orientation, True)]
        for name, options in (("strips", {"rowsperstrip": 7}), ("tiles", {"tile": (16, 16)})):
            for plane in ("contig", "separate"):
                make = partial(
                    tiff,
                    scene.rgb,
                    photometric="rgb",
                    planarconfig=plane,
                    extratags=tag,
                    **options,
                )
                variant = f"{orientation}, {name}, {plane}"
                yield Case("TIFF, orientation", variant, make, upright(truth, orientation))


def _profiles(scene: Scene) -> Iterator[Case]:
    for name, profile in PROFILES["RGB"].items():
        for bits, pixels in ((8, scene.rgb), (16, scene.deep)):
            for plane in ("contig", "separate"):
                make = partial(
                    tiff, pixels, photometric="rgb", planarconfig=plane, iccprofile=profile
                )
                yield Case("TIFF, RGB profile", f"{name}, {bits} bits, {plane}", make)
    for name, profile in PROFILES["L"].items():
        for bits, grey in ((8, scene.grey), (16, scene.deep_grey)):
            make = partial(tiff, grey, photometric="minisblack", iccprofile=profile)
            yield Case("TIFF, grey profile", f"{name}, {bits} bits", make)
    for name, profile in PROFILES["CMYK"].items():
        make = partial(tiff, inks(scene), photometric="separated", iccprofile=profile)
        yield Case("TIFF, CMYK profile", name, make)


def _lossy(scene: Scene) -> Iterator[Case]:
    """JPEG inside, where colours are YCbCr or are not."""
    for layout, options in _LAYOUTS.items():
        if layout == "strips":
            options = {"rowsperstrip": 16}
        for subsampling in ((1, 1), (2, 1), (2, 2)):
            make = partial(
                tiff,
                scene.rgb,
                photometric="ycbcr",
                compression="jpeg",
                subsampling=subsampling,
                **options,
            )
            yield Case("TIFF, JPEG in YCbCr", f"{layout}, {subsampling}", make)
        for name, pixels, photometric in (
            ("RGB", scene.rgb, "rgb"),
            ("grey", scene.grey, "minisblack"),
        ):
            make = partial(tiff, pixels, photometric=photometric, compression="jpeg", **options)
            yield Case(f"TIFF, JPEG in {name}", layout, make)


def _by_libvips(scene: Scene) -> Iterator[Case]:
    for compression in ("none", "lzw", "deflate", "packbits", "jpeg", "ccittfax4"):
        for bits in (1, 2, 4) if compression != "jpeg" else ():
            for inverted in (False, True):
                if compression == "ccittfax4" and bits != 1:
                    continue
                make = partial(
                    libvips.saved,
                    scene.grey,
                    ".tif",
                    compression=compression,
                    predictor="none",
                    bitdepth=bits,
                    miniswhite=inverted,
                )
                yield Case(
                    f"TIFF by libvips, grey of {bits} bits", f"{compression} {inverted}", make
                )
        if compression == "ccittfax4":
            continue
        if compression != "jpeg":
            make = partial(_lab_by_libvips, scene, compression)
            yield Case("TIFF by libvips, Lab in floats", compression, make)
        for pyramid in (False, True):
            for name, pixels in (("RGB", scene.rgb), ("RGBA", scene.rgba), ("grey", scene.grey)):
                if compression == "jpeg" and name == "RGBA":
                    continue
                make = partial(
                    libvips.saved,
                    pixels,
                    ".tif",
                    compression=compression,
                    tile=True,
                    tile_width=16,
                    tile_height=16,
                    pyramid=pyramid,
                    subifd=pyramid,
                )
                yield Case(f"TIFF by libvips, {name}", f"{compression}, pyramid {pyramid}", make)


def _lab_by_libvips(scene: Scene, compression: str) -> bytes:
    lab = libvips.image(scene.rgb).colourspace("lab")
    return bytes(lab.write_to_buffer(".tif", compression=compression))


def _by_ffmpeg(scene: Scene) -> Iterator[Case]:
    layouts = "rgb24 rgba gray ya8 monob monow pal8 rgb48le rgba64le gray16le".split()
    layouts += "yuv444p yuv422p yuv420p yuv411p".split()
    for layout in layouts:
        # Not sampled down, colours of the source are still exact; libvips misreads these.
        truth = scene.rgb if layout == "yuv444p" else None
        for compression in ("raw", "lzw", "deflate", "packbits"):
            options = ("-pix_fmt", layout, "-compression_algo", compression)
            make = partial(ffmpeg.encoded, [scene.rgba], "tif", *options)
            # Each program start takes a while, so only what is special has a kind of its own.
            kind = f"TIFF by ffmpeg{f', {layout}' * layout.startswith('yuv')}"
            yield Case(kind, f"{layout} {compression}", make, truth)

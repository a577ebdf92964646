"""TIFF decoder: grey, RGB, palette, CMYK and Lab of any depth, sample by sample. Pillow decodes
what only libtiff supports (JPEG, fax, YCbCr); other kinds are refused by name.

Sources: TIFF 6.0 (Adobe, 1992); Adobe's TIFF technical notes for ICCLab and floats.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from app.core.errors import ImageRejected
from app.core.images.formats.still import TRUNCATED, Opened, Still, unsupported
from app.core.images.formats.tiff import directory as tags
from app.core.images.formats.tiff.directory import Directory, first_directory
from app.core.images.formats.tiff.lab import CIELAB, ICCLAB, read_lab
from app.core.images.formats.tiff.samples import (
    FLOAT,
    PACKINGS,
    SIGNED,
    Layout,
    Samples,
    blocks,
    layout_of,
)

# Pillow's own reader of unpacked data knows neither subsampling nor planes of 16 bits.
TiffImagePlugin.READ_LIBTIFF = True

Bytes = NDArray[np.uint8]
Scale = Callable[[Samples], Bytes]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_YCBCR = 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
_LABS = (CIELAB, ICCLAB)
_ASSOCIATED, _UNASSOCIATED, _COREL = 1, 2, 999
_FAX, _JPEG = (2, 3, 4), 7
_OF_LIBTIFF = {  # compression -> photometric interpretations that libtiff decodes
    **dict.fromkeys(_FAX, (_WHITE_IS_ZERO, _BLACK_IS_ZERO)),
    **dict.fromkeys(PACKINGS, (_YCBCR,)),
    _JPEG: (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _YCBCR),
}
_ROWS = 256  # at a time, where a step needs several times the memory of the pixels


def open_tiff(data: bytes) -> Opened:
    """Raises ImageRejected for unsupported kinds; struct.error, KeyError or ValueError for
    damage."""
    directory = first_directory(data)
    if tags.DNG_VERSION in directory:
        raise unsupported("a raw photo (DNG)")
    size = directory.first(tags.WIDTH), directory.first(tags.HEIGHT)
    if min(size) <= 0:
        raise ImageRejected(TRUNCATED)
    compression = directory.first(tags.COMPRESSION, 1)
    photometric = _photometric(directory, compression)
    if compression in PACKINGS and photometric in _COLOURS:
        return Opened(size, size, partial(_read, data, directory, photometric))
    if compression in PACKINGS and photometric in _LABS:
        return Opened(size, size, partial(_read_lab, data, directory, photometric))
    if photometric in _OF_LIBTIFF.get(compression, ()):
        return Opened(size, size, partial(_read_by_libtiff, data, directory))
    if compression in PACKINGS or compression in _OF_LIBTIFF:
        raise unsupported(f"a TIFF of photometric interpretation {photometric}")
    raise unsupported(f"a TIFF of compression {compression}")


def _photometric(directory: Directory, compression: int) -> int:
    """A required tag, but some scanners omit it."""
    default = _RGB if directory.first(tags.SAMPLES, 1) > 2 else _BLACK_IS_ZERO
    return directory.first(tags.PHOTOMETRIC, _WHITE_IS_ZERO if compression in _FAX else default)


def _read_by_libtiff(data: bytes, directory: Directory) -> Still:
    """Pillow applies the orientation itself."""
    bits = set(directory.values(tags.BITS, 4)) or {1}
    if bits not in ({1}, {8}):
        raise unsupported(f"a TIFF of {max(bits)} bits in this compression")
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
    except UnidentifiedImageError:
        raise unsupported("a TIFF of this kind of pixels") from None
    image.load()
    return Still(image)


def _read_lab(data: bytes, directory: Directory, photometric: int) -> Still:
    layout = layout_of(directory, signed_bits=(8, 16))
    image = read_lab(data, directory, layout, photometric)
    return Still(image, orientation=directory.first(tags.ORIENTATION, 1))


def _read(data: bytes, directory: Directory, photometric: int) -> Still:
    layout = layout_of(directory)
    colour_count = _COLOURS[photometric]
    kind, alpha_sample = _alpha(directory, layout, photometric)
    scales = _scales(data, directory, layout, photometric)
    if kind is not None:
        scales[alpha_sample] = _alpha_scale(layout)
    channels = 3 if photometric == _PALETTE else colour_count
    colours = np.zeros((layout.height, layout.width, channels), np.uint8)
    alpha = np.zeros((layout.height, layout.width), np.uint8)
    for block in blocks(data, directory, layout):
        high, wide, count = block.samples.shape
        area = slice(block.row, block.row + high), slice(block.column, block.column + wide)
        for sample in range(block.first_sample, block.first_sample + count):
            if sample not in scales:
                continue
            scaled = scales[sample](block.samples[:, :, sample - block.first_sample])
            if sample == alpha_sample and kind is not None:
                alpha[area] = scaled
            elif photometric == _PALETTE:
                colours[area] = scaled
            else:
                colours[(*area, sample)] = scaled
    if kind == _ASSOCIATED:
        _unassociate(colours, alpha)
    if photometric == _WHITE_IS_ZERO:
        np.subtract(255, colours, out=colours)
    image = _image(colours)
    profile = directory.raw(tags.ICC_PROFILE)
    if profile is not None:
        image.info["icc_profile"] = profile
    orientation = directory.first(tags.ORIENTATION, 1)
    return Still(image, None if kind is None else Image.fromarray(alpha), orientation)


def _alpha(directory: Directory, layout: Layout, photometric: int) -> tuple[int | None, int]:
    """(kind of the alpha channel, its sample); the kind is None if there is none."""
    colours = _COLOURS[photometric]
    extra = layout.samples - colours
    if extra < 0 or (photometric == _CMYK and directory.first(tags.INK_SET, 1) != 1):
        raise unsupported(f"a TIFF of {layout.samples} samples a pixel of this kind")
    kinds = directory.values(tags.EXTRA_SAMPLES, extra)
    if not kinds and extra == 1 and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        kinds = (_UNASSOCIATED,)
    for i, kind in enumerate(kinds):
        if kind in (_ASSOCIATED, _UNASSOCIATED, _COREL):
            return kind, colours + i
    return None, 0


def _scales(
    data: bytes, directory: Directory, layout: Layout, photometric: int
) -> dict[int, Scale]:
    """Colour sample -> the function that scales its values to 8 bits."""
    count = _COLOURS[photometric]
    if photometric == _PALETTE:
        return {0: _palette(directory, layout)}
    if layout.kind in (SIGNED, FLOAT) or layout.bits > 16:
        scale: Scale = partial(_stretched, bounds=_bounds(data, directory, layout, count))
    else:
        scale = _table(layout.bits)
    return dict.fromkeys(range(count), scale)


def _alpha_scale(layout: Layout) -> Scale:
    if layout.kind in (SIGNED, FLOAT) or layout.bits > 16:
        return partial(_stretched, bounds=(0.0, _top(layout)))
    return _table(layout.bits)


def _looked_up(table: Bytes) -> Scale:
    return lambda samples: table[samples]


def _table(bits: int) -> Scale:
    top = 2**bits - 1
    scaled = (np.arange(top + 1, dtype=np.uint32) * 255 + top // 2) // top
    return _looked_up(scaled.astype(np.uint8))


def _palette(directory: Directory, layout: Layout) -> Scale:
    if layout.kind in (SIGNED, FLOAT) or layout.bits > 16:
        raise unsupported(f"a TIFF with a palette and {layout.bits} bits")
    size = 2**layout.bits
    values = np.array(directory.values(tags.COLOUR_MAP, 3 * size), np.uint16)
    if len(values) < 3 * size:
        raise ImageRejected(TRUNCATED)
    if values.max() > 255:  # else an 8-bit palette of an old writer
        values >>= 8
    return _looked_up(np.ascontiguousarray(values.astype(np.uint8).reshape(3, size).T))


def _top(layout: Layout) -> float:
    """The maximum value of a sample."""
    return {FLOAT: 1.0, SIGNED: 2.0 ** (layout.bits - 1) - 1}.get(layout.kind, 2.0**layout.bits - 1)


def _bounds(data: bytes, directory: Directory, layout: Layout, colours: int) -> tuple[float, float]:
    """The values of black and white: usually 0 and the maximum. For floats outside of 0 to 1, and
    for integers that use less than 1/256 of their range: their minimum and maximum."""
    low, high = np.inf, -np.inf
    for block in blocks(data, directory, layout):
        numbers = block.samples[:, :, : max(0, colours - block.first_sample)]
        if layout.kind == FLOAT:
            numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    full = _top(layout)
    bottom = -full - 1 if layout.kind == SIGNED and low < 0 else 0.0
    if low >= high:  # at most one value
        return bottom, full
    in_range, wide = low >= 0 and high <= 1, high - low >= (full - bottom) / 256
    usual = in_range if layout.kind == FLOAT else wide
    return (bottom, full) if usual else (low, high)


def _stretched(samples: Samples, bounds: tuple[float, float]) -> Bytes:
    low, high = bounds
    share = (samples.astype(np.float64) - low) / (high - low)
    return np.nan_to_num(share * 255 + 0.5, nan=0.0).clip(0, 255).astype(np.uint8)


def _unassociate(colours: Bytes, alpha: Bytes) -> None:
    """Divide the colours by their alpha, in place."""
    for top in range(0, len(alpha), _ROWS):
        weights = alpha[top : top + _ROWS, :, None].astype(np.uint16)
        rows = colours[top : top + _ROWS]
        divided = (rows.astype(np.uint16) * 255 + weights // 2) // np.maximum(weights, 1)
        rows[:] = divided.clip(0, 255)


def _image(colours: Bytes) -> Image.Image:
    high, wide, channels = colours.shape
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    return Image.frombuffer(mode, (wide, high), colours, "raw", mode, 0, 1)

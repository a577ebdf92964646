"""TIFF. Grey, RGB, palette, CMYK and Lab of any depth are read sample by sample; what only libtiff
knows (JPEG, fax, YCbCr) goes through Pillow, and the rest is refused by name.

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
from app.core.images.formats.still import TRUNCATED, Opened, Still, unread
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
_OF_LIBTIFF = {  # compression -> the photometric interpretations that libtiff makes colours of
    **dict.fromkeys(_FAX, (_WHITE_IS_ZERO, _BLACK_IS_ZERO)),
    **dict.fromkeys(PACKINGS, (_YCBCR,)),
    _JPEG: (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _YCBCR),
}
_ROWS = 256  # at a time, where a step needs several times the memory of its pixels


def open_tiff(data: bytes) -> Opened:
    """Raises ImageRejected for what is not read; struct.error, KeyError or ValueError for
    damage."""
    directory = first_directory(data)
    if tags.DNG_VERSION in directory:
        raise unread("a raw photo (DNG)")
    size = directory.one(tags.WIDTH), directory.one(tags.HEIGHT)
    if min(size) <= 0:
        raise ImageRejected(TRUNCATED)
    compression = directory.one(tags.COMPRESSION, 1)
    photometric = _photometric(directory, compression)
    if compression in PACKINGS and photometric in _COLOURS:
        return Opened(size, size, partial(_read, data, directory, photometric))
    if compression in PACKINGS and photometric in _LABS:
        return Opened(size, size, partial(_read_lab, data, directory, photometric))
    if photometric in _OF_LIBTIFF.get(compression, ()):
        return Opened(size, size, partial(_read_by_libtiff, data, directory))
    if compression in PACKINGS or compression in _OF_LIBTIFF:
        raise unread(f"a TIFF of photometric interpretation {photometric}")
    raise unread(f"a TIFF of compression {compression}")


def _photometric(directory: Directory, compression: int) -> int:
    """Required, but missing in files of some scanners."""
    usual = _RGB if directory.one(tags.SAMPLES, 1) > 2 else _BLACK_IS_ZERO
    return directory.one(tags.PHOTOMETRIC, _WHITE_IS_ZERO if compression in _FAX else usual)


def _read_by_libtiff(data: bytes, directory: Directory) -> Still:
    """Pillow turns it upright itself."""
    bits = set(directory.some(tags.BITS, 4)) or {1}
    if bits not in ({1}, {8}):
        raise unread(f"a TIFF of {max(bits)} bits in this compression")
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
    except UnidentifiedImageError:
        raise unread("a TIFF of this kind of pixels") from None
    image.load()
    return Still(image)


def _read_lab(data: bytes, directory: Directory, photometric: int) -> Still:
    layout = layout_of(directory, signed_bits=(8, 16))
    image = read_lab(data, directory, layout, photometric)
    return Still(image, orientation=directory.one(tags.ORIENTATION, 1))


def _read(data: bytes, directory: Directory, photometric: int) -> Still:
    layout = layout_of(directory)
    count = _COLOURS[photometric]
    kind, place = _alpha(directory, layout, photometric)
    scales = _scales(data, directory, layout, photometric)
    if kind is not None:
        scales[place] = _alpha_scale(layout)
    channels = 3 if photometric == _PALETTE else count
    colours = np.zeros((layout.height, layout.width, channels), np.uint8)
    alpha = np.zeros((layout.height, layout.width), np.uint8)
    for block in blocks(data, directory, layout):
        high, wide, together = block.samples.shape
        area = slice(block.row, block.row + high), slice(block.column, block.column + wide)
        for sample in range(block.first_sample, block.first_sample + together):
            if sample not in scales:
                continue
            scaled = scales[sample](block.samples[:, :, sample - block.first_sample])
            if sample == place and kind is not None:
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
    orientation = directory.one(tags.ORIENTATION, 1)
    return Still(image, None if kind is None else Image.fromarray(alpha), orientation)


def _alpha(directory: Directory, layout: Layout, photometric: int) -> tuple[int | None, int]:
    """(how alpha is meant, which sample it is); None when there is none."""
    colours = _COLOURS[photometric]
    extra = layout.samples - colours
    if extra < 0 or (photometric == _CMYK and directory.one(tags.INK_SET, 1) != 1):
        raise unread(f"a TIFF of {layout.samples} samples a pixel of this kind")
    kinds = directory.some(tags.EXTRA_SAMPLES, extra)
    if not kinds and extra == 1 and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        kinds = (_UNASSOCIATED,)
    for i, kind in enumerate(kinds):
        if kind in (_ASSOCIATED, _UNASSOCIATED, _COREL):
            return kind, colours + i
    return None, 0


def _scales(
    data: bytes, directory: Directory, layout: Layout, photometric: int
) -> dict[int, Scale]:
    """From the numbers of each sample that is a colour to 8 bits."""
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
        raise unread(f"a TIFF with a palette and {layout.bits} bits")
    size = 2**layout.bits
    values = np.array(directory.some(tags.COLOUR_MAP, 3 * size), np.uint16)
    if len(values) < 3 * size:
        raise ImageRejected(TRUNCATED)
    if values.max() > 255:  # else some old writer's palette of 8 bits
        values >>= 8
    return _looked_up(np.ascontiguousarray(values.astype(np.uint8).reshape(3, size).T))


def _top(layout: Layout) -> float:
    """The value that means full."""
    return {FLOAT: 1.0, SIGNED: 2.0 ** (layout.bits - 1) - 1}.get(layout.kind, 2.0**layout.bits - 1)


def _bounds(data: bytes, directory: Directory, layout: Layout, colours: int) -> tuple[float, float]:
    """What becomes black and what white: 0 and full, where that makes sense. Floats beyond 0 to 1
    and integers that use less than a 256th of their range go from their smallest to their
    largest."""
    low, high = np.inf, -np.inf
    for block in blocks(data, directory, layout):
        numbers = block.samples[:, :, : max(0, colours - block.first_sample)]
        if layout.kind == FLOAT:
            numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    full = _top(layout)
    bottom = -full - 1 if layout.kind == SIGNED and low < 0 else 0.0
    if low >= high:  # of one value, or of none
        return bottom, full
    within, wide = low >= 0 and high <= 1, high - low >= (full - bottom) / 256
    usual = within if layout.kind == FLOAT else wide
    return (bottom, full) if usual else (low, high)


def _stretched(samples: Samples, bounds: tuple[float, float]) -> Bytes:
    low, high = bounds
    share = (samples.astype(np.float64) - low) / (high - low)
    return np.nan_to_num(share * 255 + 0.5, nan=0.0).clip(0, 255).astype(np.uint8)


def _unassociate(colours: Bytes, alpha: Bytes) -> None:
    """Divide the colours by their alpha, in place."""
    for top in range(0, len(alpha), _ROWS):
        some = alpha[top : top + _ROWS, :, None].astype(np.uint16)
        rows = colours[top : top + _ROWS]
        whole = (rows.astype(np.uint16) * 255 + some // 2) // np.maximum(some, 1)
        rows[:] = whole.clip(0, 255)


def _image(colours: Bytes) -> Image.Image:
    high, wide, channels = colours.shape
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    return Image.frombuffer(mode, (wide, high), colours, "raw", mode, 0, 1)

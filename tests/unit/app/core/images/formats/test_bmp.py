"""BMP: pixels with masks, both row orders, and unused alpha channels."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.errors import ImageRejected
from app.core.images.decode import decode

WIDE, HIGH = 7, 5
COLOURS = np.random.default_rng(4).integers(0, 256, (HIGH, WIDE, 3))
ALPHA = np.random.default_rng(5).integers(0, 256, (HIGH, WIDE, 1))


def bmp(
    rows: NDArray[np.integer],
    bits: int,
    *,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    header: int = 40,
    top_down: bool = False,
) -> bytes:
    """rows: from the top, of little-endian numbers."""
    ordered = rows if top_down else rows[::-1]
    padded = b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in ordered)
    high = -HIGH if top_down else HIGH
    head = struct.pack("<IiiHHI", header, WIDE, high, 1, bits, compression)
    head = head.ljust(40, b"\0") + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(padded), 0, 0, start) + head + padded


def masked(masks: tuple[int, ...], bits: int) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """The numbers, and the colours (and alphas) from 0 to 255 that they still tell apart."""
    numbers = np.zeros((HIGH, WIDE), np.uint64)
    seen = []
    channels = np.concatenate([COLOURS, ALPHA], axis=2)
    for i, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        top = mask >> shift
        values = np.rint(channels[:, :, i] / 255 * top).astype(np.uint64)
        numbers |= values << np.uint64(shift)
        seen.append(values.astype(float) * 255 / top)
    return numbers.astype(f"<u{bits // 8}"), np.stack(seen, axis=-1)


MASKS = {
    "565": (16, (0xF800, 0x07E0, 0x001F)),
    "555": (16, (0x7C00, 0x03E0, 0x001F)),
    "444": (16, (0x0F00, 0x00F0, 0x000F)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "BGRX": (32, (0xFF0000, 0xFF00, 0xFF)),
    "RGBX": (32, (0xFF, 0xFF00, 0xFF0000)),
    "BGRA": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "ABGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF)),
}


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_any_kind(kind: str, top_down: bool) -> None:
    bits, masks = MASKS[kind]
    numbers, seen = masked(masks, bits)
    header = 124 if len(masks) == 4 else 40
    data = bmp(numbers, bits, compression=3, masks=masks, header=header, top_down=top_down)
    share = seen[:, :, 3:] / 255 if len(masks) == 4 else 1
    expected = seen[:, :, :3] * share + 255 * (1 - share)
    shown = np.asarray(decode(data, 10_000, 10_000)).astype(int)
    assert np.abs(shown - expected).max() <= 1


def test_an_unused_alpha_channel_hides_nothing() -> None:
    numbers = masked((0xFF0000, 0xFF00, 0xFF), 32)[0]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = bmp(numbers, 32, compression=3, masks=masks, header=108)
    assert np.asarray(decode(data, 10_000, 10_000)).tolist() == COLOURS.tolist()


@pytest.mark.parametrize("top_down", [False, True])
def test_a_fourth_byte_without_a_mask_is_no_alpha(top_down: bool) -> None:
    numbers = masked((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32)[0]
    data = bmp(numbers, 32, top_down=top_down)
    assert np.asarray(decode(data, 10_000, 10_000)).tolist() == COLOURS.tolist()


@pytest.mark.parametrize(("compression", "bits"), [(4, 24), (5, 24), (11, 32), (0, 64)])
def test_other_kinds_are_refused_by_name(compression: int, bits: int) -> None:
    data = bmp(np.zeros((HIGH, WIDE), np.uint32), bits, compression=compression)
    reason = f"^image: a BMP of compression {compression} and {bits} bits is not read$"
    with pytest.raises(ImageRejected, match=reason):
        decode(data, 10_000, 10_000)


def test_missing_rows_are_damage() -> None:
    masks = (0xF800, 0x07E0, 0x001F)
    data = bmp(masked(masks, 16)[0], 16, compression=3, masks=masks)
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        decode(data[:-4], 10_000, 10_000)

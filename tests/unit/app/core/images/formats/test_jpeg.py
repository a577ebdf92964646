"""JPEG: files that lack their last bytes, photos that are too large, kinds that are not read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.decode import decode, open_picture
from app.core.images.formats.jpeg import MAX_SCANS, read_segments
from tests.support.picture_files import animated, filled, saved
from tests.support.pictures import astronaut, encoded
from tests.support.slow_jpeg import slow_jpeg

BYTES, PIXELS = 10_000_000, 1_000_000
PHOTO = astronaut((120, 80))


def jpeg(progressive: bool, **options: object) -> bytes:
    return saved(PHOTO, "JPEG", quality=90, progressive=progressive, **options)


def pixels(data: bytes) -> list[object]:
    return np.asarray(decode(data, BYTES, PIXELS)).tolist()


# ---- lacking its last bytes


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_only_the_end_marker_is_missing(progressive: bool, missing: int) -> None:
    whole = jpeg(progressive)
    assert whole.endswith(b"\xff\xd9")
    assert pixels(whole[:-missing]) == pixels(whole)


def test_bytes_that_no_pixel_needs_are_missing() -> None:
    """A webcam fills its last packet up; the cut goes through that."""
    whole = jpeg(progressive=False)
    assert pixels(whole[:-2] + bytes(500)) == pixels(whole)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_pixels_that_are_missing_are_not_made_up(share: float) -> None:
    whole = jpeg(progressive=False)
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        pixels(whole[: int(len(whole) * (1 - share))])


@pytest.mark.parametrize("kept", range(1, 10))
def test_a_progressive_picture_without_its_last_scans_is_not_whole(kept: int) -> None:
    whole = jpeg(progressive=True)
    starts = [at for at in range(len(whole) - 1) if whole[at : at + 2] == b"\xff\xda"]
    assert len(starts) == 10
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        pixels(whole[: starts[kept]])


def test_data_after_the_first_picture_may_be_missing() -> None:
    """The others of a file of several, as phones make them."""
    whole = animated("MPO")
    assert pixels(whole[:-40]) == pixels(whole)


# ---- too large to be decoded in full


@pytest.mark.parametrize("size", [(120, 80), (119, 79)])
@pytest.mark.parametrize("progressive", [False, True])
def test_up_to_four_times_the_pixels_it_is_halved(progressive: bool, size: tuple[int, int]) -> None:
    picture = astronaut(size)
    data = saved(picture, "JPEG", quality=95, progressive=progressive)
    half = decode(data, BYTES, size[0] * size[1] // 2)
    assert half.size == (60, 40)
    even = np.pad(np.asarray(picture), ((0, size[1] % 2), (0, size[0] % 2), (0, 0)), mode="edge")
    expected = even.reshape(40, 2, 60, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(half) - expected).mean() < 3
    assert decode(data, BYTES, size[0] * size[1]).size == size


def test_its_time_is_that_of_all_its_pixels() -> None:
    assert open_picture(jpeg(progressive=False), BYTES, 2500).pixels == 120 * 80


def test_beyond_four_times_it_is_refused() -> None:
    with pytest.raises(ImageRejected, match="^image: 120x80 pixels; at most 9596 pixels are"):
        decode(jpeg(progressive=False), BYTES, 2399)


def test_a_photo_of_200_megapixels_is_opened() -> None:
    data = saved(filled(), "JPEG")
    frame = data.index(b"\xff\xc0") + 5
    large = data[:frame] + struct.pack(">HH", 12_240, 16_320) + data[frame + 4 :]
    assert open_picture(large, BYTES, 67_108_864).pixels == 12_240 * 16_320


@pytest.mark.parametrize("orientation", [1, 6])
def test_halved_and_turned(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    half = decode(jpeg(False, exif=exif), BYTES, 4800)
    assert half.size == ((60, 40) if orientation == 1 else (40, 60))


# ---- scans


def test_a_picture_that_is_gone_over_again_and_again_is_refused() -> None:
    bomb = slow_jpeg()
    with pytest.raises(ImageRejected, match=f"a JPEG of 701 scans; at most {MAX_SCANS} are read"):
        open_picture(bomb, BYTES, 67_108_864)


def test_scans_are_counted() -> None:
    assert read_segments(jpeg(progressive=False)).scans == 1
    assert read_segments(jpeg(progressive=True)).scans == 10
    assert read_segments(slow_jpeg(scans=3)).scans == 4


def test_of_a_scan_only_markers_count() -> None:
    """Not what looks like one in the data of a segment."""
    data = encoded(PHOTO, "JPEG")
    comment = b"\xff\xda" * 200
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    assert read_segments(data[:2] + segment + data[2:]).scans == 1


# ---- kinds


@pytest.mark.parametrize(
    ("marker", "precision", "reason"),
    [
        (0xC3, 12, "a JPEG of 12 bits"),
        (0xCB, 8, "a lossless JPEG of this kind"),
        (0xF7, 8, "a lossless JPEG of this kind"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xC1, 12, "a JPEG of 12 bits"),
    ],
)
def test_other_kinds_are_refused_by_name(marker: int, precision: int, reason: str) -> None:
    data = bytearray(jpeg(progressive=False))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, precision
    with pytest.raises(ImageRejected, match=f"^image: {reason} is not read$"):
        pixels(bytes(data))


def test_cmyk_as_adobe_stores_it() -> None:
    inks = Image.new("CMYK", (16, 16), (20, 200, 100, 50))
    shown = np.asarray(decode(saved(inks, "JPEG", quality=100), BYTES, PIXELS)).astype(int)
    expected = [(255 - ink) * (255 - 50) / 255 for ink in (20, 200, 100)]
    assert np.abs(shown - expected).max() <= 3

"""AVIF and HEIC: cropping and rotation by the container, and its limits."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.decode import decode, open_picture
from tests.support.heif_files import (
    QUARTERS,
    Item,
    avif,
    box,
    clap,
    coded,
    container,
    grid,
    heic,
    icc,
    imir,
    irot,
)
from tests.support.picture_files import filled, saved
from tests.support.profiles import rotated_rgb

BYTES, PIXELS = 10_000_000, 1_000_000
FILES = {"AVIF": avif(), "HEIC": heic("plain")}
RED, GREEN, BLUE, GREY = QUARTERS
WHITE = (255, 255, 255)
files = pytest.mark.parametrize("file", FILES.values(), ids=FILES)


def corners(data: bytes) -> list[tuple[int, int, int]]:
    """Upper left and right, lower left and right, each as the pure colour that it is near."""
    picture = decode(data, BYTES, PIXELS)
    right, lower = picture.width - 1, picture.height - 1
    found = []
    for place in ((0, 0), (right, 0), (0, lower), (right, lower)):
        pixel = np.array(picture.getpixel(place))
        near = [one for one in (*QUARTERS, WHITE) if np.abs(pixel - one).max() <= 6]
        assert near, pixel
        found.append(near[0])
    return found


@files
def test_the_pixels(file: bytes) -> None:
    assert corners(file) == [RED, GREEN, BLUE, GREY]
    assert corners(container(coded(file))) == [RED, GREEN, BLUE, GREY]


@files
def test_a_brand_that_does_not_tell_the_coding(file: bytes) -> None:
    assert corners(container(coded(file), brand=b"mif1")) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpha", [RED, WHITE, BLUE, WHITE]),
        ("deep", [RED, GREEN, BLUE, GREY]),
        ("limited", [RED, GREEN, BLUE, GREY]),
    ],
)
def test_kinds_of_heic(name: str, expected: list[tuple[int, int, int]]) -> None:
    assert corners(heic(name)) == expected


def test_grey_heic() -> None:
    """ITU-R 601 luma of the quarters."""
    picture = np.asarray(decode(heic("grey"), BYTES, PIXELS)).astype(int)
    for (row, column), luma in {(0, 0): 76, (0, 63): 150, (63, 0): 29, (63, 63): 90}.items():
        assert np.abs(picture[row, column] - luma).max() <= 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0", "4:0:0"])
@pytest.mark.parametrize("narrow", [False, True])
def test_kinds_of_avif(subsampling: str, narrow: bool) -> None:
    colour = (90, 90, 90) if subsampling == "4:0:0" else (200, 90, 40)
    data = saved(
        filled(colour=colour, size=(64, 64)),
        "AVIF",
        quality=100,
        subsampling=subsampling,
        range="limited" if narrow else "full",
    )
    shown = np.asarray(decode(data, BYTES, PIXELS)).astype(int)
    assert np.abs(shown - colour).max() <= 3


def test_avif_with_alpha() -> None:
    data = saved(filled("RGBA", (255, 0, 0, 51), (64, 64)), "AVIF", quality=100)
    shown = np.asarray(decode(data, BYTES, PIXELS)).astype(int)
    assert np.abs(shown - (255, 204, 204)).max() <= 3


def test_of_an_image_sequence_the_first_picture_is_taken() -> None:
    others = [filled(colour="green"), filled(colour="blue")]
    data = saved(filled(), "AVIF", save_all=True, append_images=others)
    assert decode(data, BYTES, PIXELS).getpixel((3, 3)) == pytest.approx((255, 0, 0), abs=3)


@files
@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([irot(0)], [RED, GREEN, BLUE, GREY]),
        ([irot(1)], [GREEN, GREY, RED, BLUE]),
        ([irot(2)], [GREY, BLUE, GREEN, RED]),
        ([irot(3)], [BLUE, RED, GREY, GREEN]),
        ([imir(0)], [BLUE, GREY, RED, GREEN]),
        ([imir(1)], [GREEN, RED, GREY, BLUE]),
        ([irot(1), imir(1)], [GREY, GREEN, BLUE, RED]),
        ([irot(3), imir(0)], [GREY, GREEN, BLUE, RED]),
        ([irot(1), imir(0)], [RED, BLUE, GREEN, GREY]),
    ],
)
def test_turned_and_mirrored(
    file: bytes, turns: list[bytes], expected: list[tuple[int, int, int]]
) -> None:
    assert corners(container(coded(file, turns))) == expected


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_does_not_turn_an_avif_once_more(orientation: int) -> None:
    """Pillow writes the orientation into the EXIF data and into the container."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.open(io.BytesIO(avif())).convert("RGB")
    data = saved(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    expected = {
        1: [RED, GREEN, BLUE, GREY],
        3: [GREY, BLUE, GREEN, RED],
        6: [BLUE, RED, GREY, GREEN],
        8: [GREEN, GREY, RED, BLUE],
    }
    assert corners(data) == expected[orientation]


def exif_item(orientation: int) -> Item:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Item(b"Exif", bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"), describes=1)


@files
def test_exif_alone_turns_nothing(file: bytes) -> None:
    """HEIF wants its own properties followed, and nothing else."""
    data = container(coded(file), exif_item(6))
    assert b"MM\0*" in data
    assert corners(data) == [RED, GREEN, BLUE, GREY]
    turned = container(coded(file, [irot(3)]), exif_item(6))
    assert corners(turned) == [BLUE, RED, GREY, GREEN]


@files
def test_cropped(file: bytes) -> None:
    upper_right = clap(32, 32, (16, 1), (-16, 1))
    data = container(coded(file, [upper_right]))
    assert decode(data, BYTES, PIXELS).size == (32, 32)
    assert corners(data) == [GREEN] * 4
    middle = container(coded(file, [clap(31, 21, (1, 2), (1, 2))]))
    assert decode(middle, BYTES, PIXELS).size == (31, 21)
    assert corners(middle) == [RED, GREEN, BLUE, GREY]


@files
def test_cropped_before_it_is_turned(file: bytes) -> None:
    data = container(coded(file, [clap(40, 32, (12, 1), (-16, 1)), irot(1)]))
    assert decode(data, BYTES, PIXELS).size == (32, 40)
    assert corners(data) == [GREEN, GREEN, RED, RED]


@files
def test_a_profile(file: bytes) -> None:
    """Red says green, green says blue, blue says red."""
    data = container(coded(file, [icc(rotated_rgb())]))
    assert corners(data)[:3] == [GREEN, BLUE, RED]


@files
def test_a_grid(file: bytes) -> None:
    tiles = [coded(file)] * 4
    data = container(grid(2, 2, 128, 128, [2, 3, 4, 5]), *tiles)
    assert decode(data, BYTES, PIXELS).size == (128, 128)
    assert corners(data) == [RED, GREEN, BLUE, GREY]
    cut = container(grid(2, 2, 100, 70, [2, 3, 4, 5]), *tiles)
    assert decode(cut, BYTES, PIXELS).size == (100, 70)
    assert corners(cut) == [RED, GREEN, RED, GREEN]


# ---- claims


@files
def test_200_megapixels_are_refused_from_the_head(file: bytes) -> None:
    claim = container(coded(file, size=(16_320, 12_240)))
    with pytest.raises(ImageRejected, match="^image: 16320x12240 pixels; at most 67108864 pixels"):
        open_picture(claim, BYTES, 67_108_864)
    large = container(grid(255, 191, 16_320, 12_240, [2]), coded(file))
    with pytest.raises(ImageRejected, match="^image: 16320x12240 pixels; at most 67108864 pixels"):
        open_picture(large, BYTES, 67_108_864)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (65, 64), (640, 640)])
def test_a_size_that_is_not_that_of_the_coded_picture(size: tuple[int, int]) -> None:
    """libheif refuses it; libavif, which browsers use too, scales to it."""
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        decode(container(coded(FILES["HEIC"], size=size)), BYTES, PIXELS)
    assert decode(container(coded(FILES["AVIF"], size=size)), BYTES, PIXELS).size == size


@files
@pytest.mark.parametrize("size", [(1, 1), (64, 128), (65, 64)])
def test_more_tiles_than_the_size_needs_are_not_decoded(file: bytes, size: tuple[int, int]) -> None:
    many = container(grid(4, 4, *size, range(2, 18)), *[coded(file, size=(640, 640))] * 16)
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        open_picture(many, BYTES, PIXELS)


ODD = {
    "a grid that lacks a tile": lambda tile: (grid(2, 2, 128, 128, [2, 3, 4]), *[tile] * 3),
    "a grid of itself": lambda _: (grid(2, 2, 128, 128, [1, 1, 1, 1]),),
    "grids of each other": lambda _: (grid(1, 1, 64, 64, [2]), grid(1, 1, 64, 64, [1])),
    "one tile again and again": lambda tile: (grid(2, 2, 128, 128, [2, 2, 2, 2]), tile),
    "a thousand tiles for one pixel": lambda tile: (
        grid(31, 32, 1, 1, range(2, 994)),
        *[tile] * 992,
    ),
    "the same bytes again and again": lambda tile: (
        Item(tile.kind, tile.data, tile.properties, repeats=60_000),
    ),
    "no bytes": lambda tile: (Item(tile.kind, b"", tile.properties),),
    "no properties": lambda tile: (Item(tile.kind, tile.data),),
}


@files
@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_refused_or_read(file: bytes, kind: str) -> None:
    with suppress(ImageRejected):
        assert decode(container(*ODD[kind](coded(file))), BYTES, PIXELS).size == (1, 1)


@files
def test_a_truncated_file(file: bytes) -> None:
    for end in range(12, len(file) - 1, 17):
        with pytest.raises(ImageRejected):
            decode(file[:end], BYTES, PIXELS)


def test_a_sequence_without_a_still_picture_is_refused_by_name() -> None:
    head = box(b"ftyp", b"msf1", bytes(4), b"hevc", b"iso8")
    with pytest.raises(ImageRejected, match="^image: an image sequence without a still picture is"):
        decode(head + box(b"moov", box(b"mvhd", bytes(100))), BYTES, PIXELS)


@files
def test_no_size_at_all_is_damage_and_no_lack_of_memory(file: bytes) -> None:
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        decode(container(coded(file, size=(0, 64))), BYTES, PIXELS)

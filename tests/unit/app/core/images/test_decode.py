"""Decoding: every kind of file becomes upright RGB pixels, or is refused with the right reason."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rq.timeouts import JobTimeoutException

from app.core.errors import ImageRejected
from app.core.images.decode import decode
from app.core.images.encode import encode, fit
from models.geometry import generated_size
from tests.support.picture_files import (
    HTML,
    SECRET,
    SIZE,
    animated,
    bombs,
    filled,
    no_pictures,
    png,
    polyglots,
    saved,
    scripted_gif,
    sound,
    with_secrets,
)
from tests.support.pictures import astronaut, encoded, opened

BYTES, PIXELS = 10_000_000, 1_000_000
DEFAULT_PIXELS = 67_108_864

SOUND = sound()
BOMBS = bombs()
NO_PICTURES = no_pictures()
POLYGLOTS = polyglots()


def decoded(data: bytes) -> Image.Image:
    return decode(data, BYTES, PIXELS)


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND)
def test_every_kind_becomes_plain_rgb(data: bytes) -> None:
    picture = decoded(data)
    assert (type(picture), picture.mode) == (Image.Image, "RGB")
    assert sorted(picture.size) == sorted(SIZE)
    assert picture.info == {}


@pytest.mark.parametrize("reason", NO_PICTURES)
def test_a_file_that_is_no_picture_is_refused_by_its_kind(reason: str) -> None:
    with pytest.raises(ImageRejected) as refused:
        decoded(NO_PICTURES[reason])
    read = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC are read"
    assert refused.value.text == f"image: {reason}; {read}"


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]
)
def test_a_file_that_begins_as_a_picture_is_reported_as_damaged(start: bytes) -> None:
    with pytest.raises(ImageRejected, match="^image: the picture is damaged or truncated$"):
        decoded(start + bytes(40))


# ---- bounds


def test_a_file_over_the_bound_is_refused() -> None:
    with pytest.raises(ImageRejected, match="at most 100 are allowed"):
        decode(encoded(astronaut((64, 64))), 100, PIXELS)


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_from_its_header(data: bytes) -> None:
    assert len(data) < 25_000
    allowed = DEFAULT_PIXELS * (4 if data.startswith(b"\xff\xd8") else 1)
    with pytest.raises(ImageRejected, match=f"at most {allowed} pixels are allowed"):
        decode(data, BYTES, DEFAULT_PIXELS)


def test_169_megapixels_in_20_kilobytes() -> None:
    bomb = BOMBS["PNG of 20 kB"]
    assert len(bomb) < 21_000
    with pytest.raises(ImageRejected, match="^image: 13000x13000 pixels; at most 67108864"):
        decode(bomb, BYTES, DEFAULT_PIXELS)


@pytest.mark.parametrize("size", [(1, 1), (1000, 1000), (20_000, 1), (1, 20_000)])
def test_sizes_up_to_the_bound_are_read(size: tuple[int, int]) -> None:
    assert decoded(saved(filled(size=size), "PNG")).size == size


@pytest.mark.parametrize("size", [(1001, 1000), (1_000_001, 1)])
def test_a_picture_of_one_pixel_too_many_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageRejected, match=f"{size[0]}x{size[1]} pixels"):
        decoded(saved(filled("1", 0, size), "PNG"))


@pytest.mark.parametrize("size", [(0, 0), (0, 8), (12, 0)])
def test_no_pixels_are_no_picture(size: tuple[int, int]) -> None:
    with pytest.raises(ImageRejected, match="damaged|not a picture"):
        decoded(png(*size, 8, 2, b""))


# ---- damage


@pytest.mark.parametrize("kind", SOUND)
def test_a_truncated_file_is_read_or_refused(kind: str) -> None:
    """Some still hold their first frame; none does anything else."""
    data = SOUND[kind]
    for end in range(0, len(data), max(1, len(data) // 40)):
        with suppress(ImageRejected):
            assert decoded(data[:end]).mode == "RGB"


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_half_a_photograph_is_refused(image_format: str) -> None:
    data = encoded(astronaut((64, 64)), image_format)
    with pytest.raises(ImageRejected, match="damaged or truncated|not a picture"):
        decoded(data[: len(data) // 2])


def test_memory_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", full)
    with pytest.raises(ImageRejected, match="^image: decoding it takes more memory than it may$"):
        decoded(SOUND["PNG, RGB"])


def test_the_time_limit_of_the_job_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        raise JobTimeoutException

    monkeypatch.setattr(Image, "open", slow)
    with pytest.raises(JobTimeoutException):
        decoded(SOUND["PNG, RGB"])


# ---- one frame


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_of_an_animation_the_first_frame_is_taken(image_format: str) -> None:
    red, green, blue = decoded(animated(image_format)).getpixel((3, 3))  # type: ignore[misc]
    assert red > 250
    assert max(green, blue) < 5


# ---- orientation


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(image_format: str, orientation: int) -> None:
    picture = astronaut((48, 32))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turn = turns.get(orientation)
    stored = picture if turn is None else picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {}
    upright = decoded(saved(stored, image_format, exif=exif, **options))
    assert np.array_equal(np.asarray(upright), np.asarray(picture))


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack(">HHI4s", 0x0100, 2, 3, b"ab\0\0"),
        struct.pack(">HHI4s", 0x011A, 7, 4, b"abcd"),
        struct.pack(">HHIi", 0x0100, 9, 1, -1),
    ],
)
def test_a_damaged_exif_tag_beside_the_orientation_does_no_harm(entry: bytes) -> None:
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    entries = sorted([entry, orientation])
    tiff = b"MM\0*" + struct.pack(">IH", 8, 2) + b"".join(entries) + struct.pack(">I", 0)
    exif = b"Exif\0\0" + tiff
    jpeg = encoded(astronaut((64, 32)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert decoded(jpeg[:2] + segment + jpeg[2:]).size == (32, 64)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff"])
def test_damaged_exif_data_turns_nothing(exif: bytes) -> None:
    assert decoded(saved(filled(), "JPEG", exif=exif)).size == SIZE


# ---- what else a file carries


def delivered(data: bytes, image_format: str) -> bytes:
    """A file of the server's own, made of the pixels of another one."""
    picture = decoded(data)
    return encode(fit(picture, picture.size, generated_size(picture.size)), image_format, 95)


@pytest.mark.parametrize("delivery", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"])
def test_metadata_is_not_carried_over(image_format: str, delivery: str) -> None:
    source = with_secrets(image_format)
    assert SECRET.encode() in source
    output = delivered(source, delivery)
    assert SECRET.encode() not in output
    picture = opened(output)
    assert not {"icc_profile", "exif", "xmp", "comment"} & picture.info.keys()
    assert not picture.getexif()


@pytest.mark.parametrize("delivery", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("data", POLYGLOTS.values(), ids=POLYGLOTS)
def test_of_a_polyglot_only_pixels_are_left(data: bytes, delivery: str) -> None:
    assert SECRET.encode() in data
    assert SECRET.encode() not in delivered(data, delivery)


def test_of_a_gif_that_is_a_script_only_pixels_are_left() -> None:
    gif = scripted_gif()
    assert SECRET.encode() in gif
    assert decoded(gif).size == (struct.unpack("<H", b"/*")[0], SIZE[1])
    assert SECRET.encode() not in delivered(gif, "png")


def test_a_large_text_of_a_png_is_no_damage() -> None:
    text = PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    assert decoded(saved(filled(), "PNG", pnginfo=text)).size == SIZE


def test_text_of_a_png_is_dropped() -> None:
    text = PngInfo()
    text.add_text("Comment", HTML.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET)
    source = saved(filled(), "PNG", pnginfo=text)
    assert SECRET.encode() not in delivered(source, "png")

"""A text in a picture file: common libraries can read it, and no pixel changes."""

from __future__ import annotations

import io

import piexif
import pytest
from PIL import Image

from app.core.images.encode import encode
from app.core.images.metadata import PARAMETERS_KEYWORD, PNG_KEYWORD, embed, embedded
from tests.support.pictures import astronaut, opened

USER_COMMENT = 0x9286


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (200, 133)], ids=str)
@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", ['{"a": 1}', "odd", "x" * 60_000], ids=len)
def test_embedded_metadata_can_be_read_and_changes_no_pixel(
    image_format: str, size: tuple[int, int], text: str
) -> None:
    plain = encode(astronaut(size), image_format, 80)
    made = opened(embed(plain, image_format, text))
    assert embedded(made) == text
    assert embedded(opened(plain)) is None
    assert (made.size, made.mode) == (size, "RGB")
    assert made.tobytes() == opened(plain).tobytes()


def test_where_viewers_look_for_it() -> None:
    made = {
        image_format: Image.open(
            io.BytesIO(embed(encode(astronaut(), image_format, 80), image_format, "x"))
        )
        for image_format in ("png", "jpeg", "webp")
    }
    assert made["png"].info[PNG_KEYWORD] == "x"
    for image_format in ("jpeg", "webp"):
        comment = made[image_format].getexif().get_ifd(0x8769)[USER_COMMENT]
        assert comment == b"ASCII\0\0\0x"
    assert not made["webp"].is_animated  # type: ignore[attr-defined]


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_another_reader_of_exif_gets_a_comment_of_bytes(image_format: str) -> None:
    """It gives numbers for a comment of the type BYTE."""
    made = embed(encode(astronaut((200, 133)), image_format, 80), image_format, "said")
    details = piexif.load(made)["Exif"]
    assert details[USER_COMMENT] == b"ASCII\0\0\0said"
    assert details[piexif.ExifIFD.ExifVersion] == b"0232"
    sides = details[piexif.ExifIFD.PixelXDimension], details[piexif.ExifIFD.PixelYDimension]
    assert sides == (200, 133)


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_a_file_of_before_is_still_read(image_format: str) -> None:
    """Its comment has the type BYTE."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[USER_COMMENT] = b"ASCII\0\0\0said before"
    buffer = io.BytesIO()
    astronaut((8, 8)).save(buffer, image_format, exif=exif)
    assert embedded(opened(buffer.getvalue())) == "said before"


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [("a lighthouse", b"tEXt"), ("évening\nSteps: 20", b"tEXt"), ("灯台", b"iTXt")],
)
def test_a_png_carries_the_parameters_too(parameters: str, kind: bytes) -> None:
    plain = encode(astronaut((33, 17)), "png", 80)
    data = embed(plain, "png", "said", parameters)
    made = opened(data)
    assert made.info[PARAMETERS_KEYWORD] == parameters
    assert embedded(made) == "said"
    assert made.tobytes() == opened(plain).tobytes()
    assert kind + b"parameters\0" in data


def test_a_nul_in_the_parameters_does_not_end_them() -> None:
    data = embed(encode(astronaut((8, 8)), "png", 80), "png", "said", "a\0b")
    assert opened(data).info[PARAMETERS_KEYWORD] == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_other_formats_have_no_place_for_parameters(image_format: str) -> None:
    plain = encode(astronaut((8, 8)), image_format, 80)
    assert embed(plain, image_format, "said", "p") == embed(plain, image_format, "said")


def test_other_metadata_is_not_ours() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    astronaut((8, 8)).save(buffer, "JPEG", exif=exif)
    assert embedded(opened(buffer.getvalue())) is None


@pytest.mark.parametrize("comment", ["a camera's text", 7, b"UNICODE\0\0a", b"no code"])
def test_a_comment_of_another_kind_is_not_ours(comment: object) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[USER_COMMENT] = comment
    astronaut((8, 8)).save(buffer, "JPEG", exif=exif)
    assert embedded(opened(buffer.getvalue())) is None

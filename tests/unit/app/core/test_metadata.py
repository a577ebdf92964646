"""A text in a picture file: any viewer's library finds it, and no pixel changes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.core.images import encode
from app.core.metadata import PNG_KEYWORD, embed, embedded
from tests.support.pictures import astronaut, opened

USER_COMMENT = 0x9286


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (200, 133)], ids=str)
@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", ['{"a": 1}', "odd", "x" * 60_000], ids=len)
def test_it_is_found_and_changes_no_pixel(
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


def test_other_metadata_is_not_ours() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    astronaut((8, 8)).save(buffer, "JPEG", exif=exif)
    assert embedded(opened(buffer.getvalue())) is None


@pytest.mark.parametrize("comment", ["a camera's text", 7])
def test_a_comment_of_another_type_is_not_ours(comment: object) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[USER_COMMENT] = comment
    astronaut((8, 8)).save(buffer, "JPEG", exif=exif)
    assert embedded(opened(buffer.getvalue())) is None

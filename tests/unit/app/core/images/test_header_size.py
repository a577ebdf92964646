"""The size of a picture from the first bytes of its file, compared with the decoder's."""

from __future__ import annotations

import base64
import io
import random

import pytest
from PIL import Image

from app.core.images.header_size import HEAD_BYTES, size_of, size_of_base64
from tests.support.heif_files import SIZE as HEIF_SIZE
from tests.support.heif_files import avif, coded, container, grid, heic

SIZE = (321, 17)
KINDS: list[tuple[str, dict[str, object]]] = [
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\0\0" + bytes(100)}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"big_tiff": True}),
    ("AVIF", {}),
]


def picture(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (9, 200, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_size_is_that_of_the_decoder(kind: str, options: dict[str, object]) -> None:
    assert size_of(picture(kind, **options)) == SIZE


def test_a_jpeg_has_it_behind_its_metadata() -> None:
    metadata = Image.Exif()
    metadata[0x9286] = "x" * 60_000
    file = picture("JPEG", exif=metadata, icc_profile=bytes(100_000))
    assert size_of(file) == SIZE
    assert size_of_base64(base64.b64encode(file)) == SIZE


@pytest.mark.parametrize("wrap", [0, 76])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_in_all_its_forms(prefix: str, wrap: int) -> None:
    text = base64.urlsafe_b64encode(picture("PNG")).decode().rstrip("=")
    if wrap:
        text = "\n".join(text[at : at + wrap] for at in range(0, len(text), wrap))
    assert size_of_base64(prefix + text) == SIZE


def test_base64_that_lost_its_plus() -> None:
    text = base64.b64encode(picture("PNG") + b"\xfb\xef\xbe" * 100).decode()
    assert "++++" in text
    assert size_of_base64(text.replace("+", " ")) == SIZE
    assert size_of_base64(f"data:image/png; base64,{text}".encode()) == SIZE


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_every_kind_as_base64(kind: str, options: dict[str, object]) -> None:
    assert size_of_base64(base64.b64encode(picture(kind, **options)).decode()) == SIZE


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert size_of_base64(base64.b64encode(picture("PNG") + bytes(8 * HEAD_BYTES)).decode()) == SIZE


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff", b"II*\0" + bytes(99)])
def test_an_unknown_header_size_is_none(data: bytes) -> None:
    assert size_of(data) is None
    assert size_of_base64(base64.b64encode(data).decode()) is None


def test_text_that_is_no_base64_is_none() -> None:
    for text in ("", "=", "http://x/y.png", "data:,", "%%%%", "é" * 9, "aGVsbG8=", "\ud800"):
        assert size_of_base64(text) is None


def test_damage_raises_nothing() -> None:
    chance = random.Random(5)
    for kind, options in KINDS:
        whole = picture(kind, **options)
        for _ in range(300):
            data = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(chance.randrange(4)):
                if data:
                    data[chance.randrange(min(len(data), 40))] = chance.randrange(256)
            found = size_of(bytes(data))
            assert found is None or min(found) > 0


@pytest.mark.parametrize("file", [heic("plain"), avif()], ids=["HEIC", "AVIF"])
def test_the_size_that_a_heif_claims(file: bytes) -> None:
    assert size_of(file) == HEIF_SIZE
    assert size_of(container(coded(file, size=(16_320, 12_240)))) == (16_320, 12_240)
    assert size_of(container(grid(2, 2, 128, 100, [2, 3, 4, 5]), *[coded(file)] * 4)) == (128, 100)
    second = container(coded(file, size=(1, 1)), coded(file), primary=2)
    assert size_of(second) == HEIF_SIZE
    for end in range(len(file)):
        assert size_of(file[:end]) in (None, HEIF_SIZE)

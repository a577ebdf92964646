"""Decoding is bounded and forgiving, fitting keeps the picture aligned, encoding keeps the size."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images import decode, decode_base64, encode, fit
from models.geometry import centred_box, generated_size
from tests.support.pictures import astronaut, encoded, opened

BYTES, PIXELS = 10_000_000, 1_000_000


def test_every_base64_form_is_read() -> None:
    data = bytes(range(256))
    raw = base64.b64encode(data).decode()
    lines = "\n".join(raw[i : i + 40] for i in range(0, len(raw), 40))
    url_safe = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for text in (raw, raw.rstrip("="), lines, url_safe, f"data:image/png;base64,{raw}"):
        assert decode_base64(f"\ufeff\n {text}") == data
    for text in (raw, f"data:image/png;base64,{quote(raw)}", f"DATA:;BASE64,{raw}"):
        assert decode_base64(text) == data


@pytest.mark.parametrize("text", ["/etc/passwd!", "not base64 at all?", "data:image/png,abc", "é"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ImageRejected, match="image: "):
        decode_base64(text)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_usual_formats_are_read(image_format: str) -> None:
    decoded = decode(encoded(astronaut((64, 48)), image_format), BYTES, PIXELS)
    assert (decoded.size, decoded.mode) == ((64, 48), "RGB")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = (
        Image.fromarray(np.full((8, 8), 40_000, np.uint16))
        if mode == "I;16"
        else astronaut((8, 8)).convert(mode)
    )
    decoded = decode(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"), BYTES, PIXELS)
    assert (decoded.size, decoded.mode) == ((8, 8), "RGB")


def test_16_bit_grey_keeps_its_brightness() -> None:
    grey = Image.fromarray(np.full((4, 4), 0x8080, np.uint16))
    assert decode(encoded(grey), BYTES, PIXELS).getpixel((0, 0)) == (128, 128, 128)


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode(encoded(clear), BYTES, PIXELS).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied() -> None:
    picture = astronaut((64, 32))
    exif = picture.getexif()
    exif[0x0112] = 6
    turned = encode_with_exif(picture, exif)
    assert decode(turned, BYTES, PIXELS).size == (32, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int) -> None:
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
    exif = stored.getexif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    upright = decode(buffer.getvalue(), BYTES, PIXELS)
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
    assert decode(jpeg[:2] + segment + jpeg[2:], BYTES, PIXELS).size == (32, 64)


def encode_with_exif(picture: Image.Image, exif: Image.Exif) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_a_file_over_the_bound_is_refused() -> None:
    with pytest.raises(ImageRejected, match="at most 100 are allowed"):
        decode(encoded(astronaut((64, 64))), 100, PIXELS)


@pytest.mark.parametrize("side", [1001, 12_000, 60_000])
def test_a_bomb_is_refused_from_its_header(side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageRejected, match="at most 1000000 pixels are allowed"):
        decode(bomb, BYTES, PIXELS)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_truncated_pictures_are_refused(image_format: str) -> None:
    data = encoded(astronaut((64, 64)), image_format)
    with pytest.raises(ImageRejected, match="damaged or truncated|not a picture"):
        decode(data[: len(data) // 2], BYTES, PIXELS)


@pytest.mark.parametrize("data", [b"", b"<html>no</html>", b"%PDF-1.4", b"\x00" * 1000])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageRejected, match="not a picture"):
        decode(data, BYTES, PIXELS)


@pytest.mark.parametrize("target", [(100, 70), (64, 64), (1, 1), (17, 33), (31, 16)])
def test_fit_repeats_the_edges_around_the_target(target: tuple[int, int]) -> None:
    picture = astronaut((200, 140))
    generated = generated_size(target)
    fitted = fit(picture, target, generated)
    assert fitted.size == generated
    inner = centred_box(generated, target)
    assert np.array_equal(np.asarray(fitted.crop(inner)), np.asarray(fit(picture, target, target)))
    pixels = np.asarray(fitted)
    assert np.array_equal(pixels[0], pixels[inner[1]])
    assert np.array_equal(pixels[:, -1], pixels[:, inner[2] - 1])


def test_fit_keeps_proportions_by_cropping() -> None:
    picture = Image.new("RGB", (300, 100), "black")
    picture.paste("white", (100, 0, 200, 100))
    assert np.asarray(fit(picture, (100, 100), (112, 112))).min() > 200


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_encoded_pictures_keep_size_and_format(image_format: str) -> None:
    picture = opened(encode(astronaut((33, 17)), image_format, 90))
    assert picture.size == (33, 17)
    assert picture.format == image_format.upper()


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_quality_decides_the_number_of_bytes(image_format: str) -> None:
    sizes = [len(encode(astronaut(), image_format, quality)) for quality in (10, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] / 1.5


def test_png_is_lossless() -> None:
    picture = astronaut((64, 64))
    assert np.array_equal(np.asarray(opened(encode(picture, "png", 10))), np.asarray(picture))

"""Colours: what a screen would show, whatever the mode, the depth and the profile."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.core.errors import ImageRejected
from app.core.images.colours import plain_rgb
from app.core.images.decode import decode
from tests.support.picture_files import filled, png16, png_chunk, saved, tiff_rgb16
from tests.support.profiles import blue_cmyk, linear_grey, rotated_rgb

RED, CLEAR_RED = (255, 0, 0), (255, 0, 0, 0)


def colour(data: bytes) -> tuple[int, int, int]:
    """Of a file that has one."""
    pixels = np.asarray(decode(data, 1_000_000, 1_000_000)).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    red, green, blue = (int(part) for part in pixels[0])
    return red, green, blue


MODES: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "1": (1, (255, 255, 255)),
    "L": (77, (77, 77, 77)),
    "LA": ((77, 255), (77, 77, 77)),
    "RGB": (RED, RED),
    "RGBA": ((*RED, 255), RED),
    "CMYK": ((0, 255, 255, 0), RED),
    "YCbCr": ((76, 85, 255), (254, 0, 0)),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    value, expected = MODES[mode]
    assert plain_rgb(filled(mode, value)).getpixel((0, 0)) == expected


def test_a_palette() -> None:
    assert colour(saved(filled(colour=RED).quantize(4), "PNG")) == RED


@pytest.mark.parametrize("mode", ["I", "F", "LAB", "HSV"])
def test_pixels_that_are_no_colours_are_refused(mode: str) -> None:
    with pytest.raises(ImageRejected, match=f"^image: {mode} pixels are not read; use grey"):
        plain_rgb(filled(mode, 0))


# ---- 16 bits


@pytest.mark.parametrize("grey", [0, 1, 127, 128, 254, 255])
def test_16_bit_grey_keeps_its_brightness(grey: int) -> None:
    assert colour(png16(0, grey * 257)) == (grey, grey, grey)
    assert colour(saved(filled("I;16", grey * 257), "TIFF")) == (grey, grey, grey)


def test_16_bit_grey_is_rounded() -> None:
    assert colour(png16(0, 100 * 257 + 120)) == (100, 100, 100)
    assert colour(png16(0, 100 * 257 + 140)) == (101, 101, 101)


@pytest.mark.parametrize("file", [png16(2, 0xFFFF, 0x8080, 0), tiff_rgb16(0xFFFF, 0x8080, 0)])
def test_16_bit_colours(file: bytes) -> None:
    assert colour(file) == (255, 128, 0)


def test_16_bit_grey_that_counts_from_white() -> None:
    """A TIFF of 0x1000 of white's distance; 8 bits of the same come out alike."""
    deep = saved(filled("I;16", 0x1000), "TIFF", tiffinfo={262: 0})
    assert colour(deep) == (239, 239, 239)


def test_a_key_of_16_bits_hides_no_other_colour() -> None:
    """The low byte of the key is the high byte of the pixels."""
    key = png_chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x1234, 0x1234))
    whole = png16(2, 0x3434, 0x3434, 0x3434)
    at = whole.index(b"IDAT") - 4
    assert colour(whole[:at] + key + whole[at:]) == (0x34, 0x34, 0x34)


# ---- transparency


@pytest.mark.parametrize(
    "data",
    [
        saved(filled("RGBA", CLEAR_RED), "PNG"),
        saved(filled("RGBA", CLEAR_RED), "WEBP", lossless=True, exact=True),
        saved(filled("LA", (0, 0)), "PNG"),
        saved(filled("L", 7), "PNG", transparency=7),
        saved(filled(colour=RED), "PNG", transparency=RED),
        saved(filled("P", 0), "GIF", transparency=0),
        png16(4, 0, 0),
    ],
    ids=["RGBA", "WebP", "LA", "L with a key", "RGB with a key", "GIF", "16 bits"],
)
def test_transparency_is_laid_on_white(data: bytes) -> None:
    assert colour(data) == (255, 255, 255)


def test_half_of_a_colour_is_half_of_white() -> None:
    assert colour(saved(filled("RGBA", (*RED, 51)), "PNG")) == (255, 204, 204)


# ---- profiles


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_colours_of_a_profile_become_those_of_a_screen(image_format: str) -> None:
    red, green, blue = colour(saved(filled(), image_format, icc_profile=rotated_rgb()))
    assert green > 250
    assert max(red, blue) < 5


def test_a_palette_has_a_profile_too() -> None:
    data = saved(filled().quantize(4), "PNG", icc_profile=rotated_rgb())
    assert colour(data) == (0, 255, 0)


def test_a_profile_does_not_touch_transparency() -> None:
    data = saved(filled("RGBA", (*RED, 51)), "PNG", icc_profile=rotated_rgb())
    assert colour(data) == (204, 255, 204)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_greys(mode: str) -> None:
    grey = filled(mode, 128 if mode == "L" else (128, 255))
    assert colour(saved(grey, "PNG", icc_profile=linear_grey())) == (188, 188, 188)


def test_16_bit_grey_has_a_profile_too() -> None:
    data = saved(filled("I;16", 128 * 257), "PNG", icc_profile=linear_grey())
    assert colour(data) == (188, 188, 188)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_a_profile_of_inks(image_format: str) -> None:
    inks = filled("CMYK", (10, 20, 30, 0))
    red, green, blue = colour(saved(inks, image_format, icc_profile=blue_cmyk()))
    assert blue > 200
    assert max(red, green) < 100


BROKEN = {
    "empty": b"",
    "garbage": b"garbage",
    "only a header": rotated_rgb()[:128],
    "truncated": rotated_rgb()[:-30],
    "of greys": linear_grey(),
    "of inks": blue_cmyk(),
    "zeros": bytes(1000),
    "tags beyond its end": rotated_rgb()[:128] + b"\xff" * 200,
}


@pytest.mark.parametrize("profile", BROKEN.values(), ids=BROKEN)
def test_a_broken_or_foreign_profile_is_ignored(profile: bytes) -> None:
    assert colour(saved(filled(), "PNG", icc_profile=profile)) == RED


def test_a_profile_of_no_bytes_is_ignored() -> None:
    picture = filled()
    picture.info["icc_profile"] = (1, 2, 3)
    assert plain_rgb(picture).getpixel((0, 0)) == RED


def test_the_picture_that_was_given_stays_as_it_is() -> None:
    picture = filled("RGBA", CLEAR_RED)
    assert isinstance(plain_rgb(picture), Image.Image)
    assert picture.getpixel((0, 0)) == CLEAR_RED

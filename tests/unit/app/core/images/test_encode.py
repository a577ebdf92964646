"""Fitting keeps the picture aligned, encoding keeps the size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.core.images.encode import encode, fit
from models.geometry import centred_box, generated_size
from tests.support.pictures import astronaut, opened


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

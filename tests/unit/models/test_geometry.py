"""Sizes: limits hold, nothing is scaled up, crops are centred."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.geometry import (
    MAX_SIDE,
    MEGAPIXEL,
    MIN_SIDE,
    MULTIPLE,
    centred_box,
    fit_within,
    generated_size,
    largest_of_shape,
    resolution_mu,
    work_units,
)

sides = st.integers(1, 20_000)


@given(sides, sides, st.integers(64, 4096), st.integers(4096, 2**24))
def test_fit_within_keeps_both_bounds(width: int, height: int, side: int, pixels: int) -> None:
    fitted = fit_within((width, height), side, pixels)
    assert max(fitted) <= side
    assert fitted[0] * fitted[1] <= pixels
    assert min(fitted) >= 1
    assert fitted[0] <= width
    assert fitted[1] <= height


def test_a_picture_within_the_bounds_keeps_its_size() -> None:
    assert fit_within((4096, 4096), 4096, 4096 * 4096) == (4096, 4096)
    assert fit_within((333, 77), 4096, 4096 * 4096) == (333, 77)


def test_a_large_picture_keeps_its_shape() -> None:
    assert fit_within((8192, 4096), 4096, 4096 * 4096) == (4096, 2048)


askable = st.integers(64, 4096)


@given(askable, askable, st.integers(64 * 64, 2**24))
def test_the_largest_of_a_shape_is_allowed_and_one_pixel_more_is_not(
    width: int, height: int, pixels: int
) -> None:
    assume(width * height > pixels)
    largest = largest_of_shape((width, height), pixels)
    assert min(largest) >= 64
    assert largest[0] * largest[1] <= pixels
    assert largest[0] <= width
    assert largest[1] <= height
    assert (largest[0] + 1) * (largest[1] + 1) > pixels
    if min(largest) > 64:
        # Each side is its exact share rounded down.
        scale = (pixels / (width * height)) ** 0.5
        assert largest == pytest.approx((width * scale, height * scale), abs=1)


@pytest.mark.parametrize(
    ("size", "pixels", "largest"),
    [
        ((1024, 1024), 100_000, (316, 316)),
        ((2048, 1024), 2**19, (1024, 512)),
        ((4096, 64), 65_536, (1024, 64)),
        ((64, 4096), 4096, (64, 64)),
    ],
)
def test_the_largest_of_some_shapes(
    size: tuple[int, int], pixels: int, largest: tuple[int, int]
) -> None:
    assert largest_of_shape(size, pixels) == largest


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_generated_size_is_the_next_multiple(width: int, height: int) -> None:
    for side, made in zip((width, height), generated_size((width, height)), strict=True):
        assert made % 16 == 0
        assert 0 <= made - side < 16


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_the_crop_is_centred_and_exact(width: int, height: int) -> None:
    outer = generated_size((width, height))
    left, top, right, bottom = centred_box(outer, (width, height))
    assert (right - left, bottom - top) == (width, height)
    assert 0 <= (outer[0] - right) - left <= 1
    assert 0 <= (outer[1] - bottom) - top <= 1


@pytest.mark.parametrize(
    ("size", "mu"),
    [((512, 512), 0.63), ((1024, 1024), 1.15), ((1536, 640), 1.106666), ((2048, 2048), 3.23)],
)
def test_resolution_mu(size: tuple[int, int], mu: float) -> None:
    assert resolution_mu(size) == pytest.approx(mu, abs=1e-6)


def test_work_is_counted_on_the_generated_size() -> None:
    assert work_units((1024, 1024), 20) == 20.0
    assert work_units((1009, 1023), 20, samples=3) == 60.0
    assert work_units((2048, 512), 39) == 39.0
    assert work_units((2048, 512), 39, samples=2, factor=1.5) == 117.0


def test_the_limits_of_sizes() -> None:
    assert (MULTIPLE, MIN_SIDE, MAX_SIDE, MEGAPIXEL) == (16, 64, 4096, 1_048_576)


@pytest.mark.parametrize(
    ("size", "side", "pixels", "fitted"),
    [
        ((100, 50), 100, 5000, (100, 50)),
        ((100, 50), 99, 5000, (99, 49)),
        ((50, 100), 99, 5000, (49, 99)),
        ((100, 50), 100, 4999, (99, 49)),
        ((200, 100), 100, 1250, (50, 25)),
        ((20_000, 1), 4096, 2**24, (4096, 1)),
        ((1, 20_000), 4096, 2**24, (1, 4096)),
    ],
)
def test_some_fitted_sizes(
    size: tuple[int, int], side: int, pixels: int, fitted: tuple[int, int]
) -> None:
    assert fit_within(size, side, pixels) == fitted


@pytest.mark.parametrize(
    ("size", "pixels", "largest"),
    [
        ((128, 64), 8191, (127, 64)),
        ((64, 128), 8191, (64, 127)),
        ((1040, 65), 65_535, (1023, 64)),
        ((1041, 65), 65_535, (1023, 64)),
        ((65, 1041), 65_535, (64, 1023)),
        ((130, 2048), 66_000, (64, 1019)),
        ((2048, 130), 66_000, (1019, 64)),
        ((256, 200), 51_199, (255, 199)),
    ],
)
def test_the_largest_of_a_shape_at_the_shortest_side(
    size: tuple[int, int], pixels: int, largest: tuple[int, int]
) -> None:
    assert largest_of_shape(size, pixels) == largest


@pytest.mark.parametrize(
    ("size", "generated"),
    [
        ((64, 64), (64, 64)),
        ((65, 80), (80, 80)),
        ((80, 81), (80, 96)),
        ((1, 16), (16, 16)),
        ((1023, 1025), (1024, 1040)),
        ((4096, 4081), (4096, 4096)),
    ],
)
def test_some_generated_sizes(size: tuple[int, int], generated: tuple[int, int]) -> None:
    assert generated_size(size) == generated


@pytest.mark.parametrize(
    ("outer", "inner", "box"),
    [
        ((80, 48), (80, 48), (0, 0, 80, 48)),
        ((80, 48), (75, 46), (2, 1, 77, 47)),
        ((96, 64), (81, 49), (7, 7, 88, 56)),
    ],
)
def test_some_crops(
    outer: tuple[int, int], inner: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert centred_box(outer, inner) == box

"""The demo's metrics: 1 (or many dB) for a perfect result, chance level for a random one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tools.demobench import metrics
from tools.demotraining.colours import DIMMEST, OBJECT_COLOURS, lit, name_of
from tools.demotraining.people import JOINTS

pytestmark = pytest.mark.tools

RNG = np.random.default_rng(1)


def outline(shift: int = 0) -> np.ndarray:
    picture = np.zeros((128, 128), np.uint8)
    cv2.circle(picture, (60 + shift, 64), 30, 255, 1)
    return picture > 0


@pytest.mark.parametrize(("shift", "least", "most"), [(0, 1, 1), (2, 0.98, 1), (12, 0, 0.4)])
def test_edges_match_within_two_pixels(shift: int, least: float, most: float) -> None:
    assert least <= metrics.edge_f1(outline(shift), outline()) <= most


def test_edges_everywhere_are_not_precise_and_none_recall_nothing() -> None:
    everywhere, none = np.ones((128, 128), bool), np.zeros((128, 128), bool)
    assert metrics.edge_f1(everywhere, outline()) < 0.2
    assert metrics.edge_f1(none, outline()) == 0
    assert metrics.edge_f1(none, none) == 1


def test_depth_is_compared_by_rank() -> None:
    depth = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    squeezed = (np.sqrt(depth / 255) * 100).astype(np.uint8)
    assert metrics.rank_correlation(depth, depth) == pytest.approx(1)
    assert metrics.rank_correlation(squeezed, depth) > 0.99
    assert metrics.rank_correlation(255 - depth, depth) == pytest.approx(-1)
    other = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    assert abs(metrics.rank_correlation(other, depth)) < 0.1
    assert metrics.rank_correlation(np.zeros_like(depth), depth) == 0


def test_joints_are_met_within_eight_pixels() -> None:
    wanted = RNG.uniform(20, 230, (len(JOINTS), 2))
    near, far = wanted + 5, wanted + 6
    assert metrics.joints_met([near], wanted, (256, 256)) == 1
    assert metrics.joints_met([far], wanted, (256, 256)) == 0
    assert metrics.joints_met([], wanted, (256, 256)) == 0
    half = near.copy()
    half[::2] = np.nan
    assert metrics.joints_met([far, half], wanted, (256, 256)) == 0.5
    guesses = [RNG.uniform(0, 256, wanted.shape) for _ in range(1)]
    assert metrics.joints_met(guesses, wanted, (256, 256)) < 0.2


def test_joints_outside_the_picture_do_not_count() -> None:
    wanted = RNG.uniform(20, 230, (len(JOINTS), 2))
    seen = wanted.copy()
    wanted[0] = (-30, 10)
    seen[0] = np.nan
    assert metrics.joints_met([seen], wanted, (256, 256)) == 1


def test_tile_is_judged_by_what_is_left_of_it_when_small() -> None:
    picture = RNG.integers(0, 256, (128, 128, 3)).astype(np.uint8)
    assert metrics.tile_psnr(picture, picture) > 60
    assert metrics.tile_psnr(np.flip(picture, 1), picture) < 20
    off = np.clip(picture.astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    shifted = np.clip(off.astype(int) + 10, 0, 255).astype(np.uint8)
    assert metrics.tile_psnr(shifted, off) == pytest.approx(20 * np.log10(255 / 10), abs=0.1)


@pytest.mark.parametrize("name", OBJECT_COLOURS)
@pytest.mark.parametrize("nearness", [0.0, 0.5, 1.0])
def test_a_colour_keeps_its_name_in_any_light(name: str, nearness: float) -> None:
    assert name_of(np.array(lit(OBJECT_COLOURS[name], nearness))) == name
    noisy = np.array(lit(OBJECT_COLOURS[name], nearness)) * (1.0, DIMMEST / 0.6, 0.97)
    assert name_of(noisy) == name


def test_the_colour_is_that_of_the_named_pixels() -> None:
    picture = np.full((32, 32, 3), OBJECT_COLOURS["blue"], np.uint8)
    picture[8:24, 8:24] = OBJECT_COLOURS["red"]
    named = np.zeros((32, 32), bool)
    named[8:24, 8:24] = True
    assert metrics.colour_right(picture, named, "red") == 1
    assert metrics.colour_right(picture, named, "blue") == 0
    random = RNG.integers(0, 256, (200, 4, 4, 3)).astype(np.uint8)
    inside = np.ones((4, 4), bool)
    assert np.mean([metrics.colour_right(one, inside, "red") for one in random]) < 0.3

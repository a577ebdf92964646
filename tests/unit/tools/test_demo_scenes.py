"""The demo's scenes: the picture shows what the scene says, and a seed gives one scene."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
import pytest

from models.control_types import UNION_MODES
from tools.demotraining.colours import name_of
from tools.demotraining.maps import control_map, pose_map
from tools.demotraining.painting import outlines_of, paint
from tools.demotraining.scenes import SHAPE_KINDS, Person, Scene, draw_scene
from tools.demotraining.textures import draw_texture

pytestmark = [pytest.mark.tools, pytest.mark.torch]

SIZES = [(256, 256), (128, 128), (192, 128)]


def scene(seed: int, person: bool | None = None) -> Scene:
    return draw_scene(Random(seed), person)


def test_a_seed_is_a_scene_and_another_seed_another() -> None:
    assert scene(1) == scene(1)
    assert len({scene(seed).prompt for seed in range(50)}) > 45


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_the_named_thing_has_its_colour_and_its_depth(seed: int, size: tuple[int, int]) -> None:
    drawn = scene(seed)
    painted = paint(drawn, size)
    assert painted.picture.shape == (size[1], size[0], 3)
    assert painted.named.any()
    assert name_of(np.median(painted.picture[painted.named], axis=0)) == drawn.named_colour
    assert drawn.named_colour in drawn.prompt.split(" in front of ")[0]
    nearest = np.median(painted.depth[painted.named])
    assert nearest == pytest.approx(drawn.named.nearness, abs=0.1)
    assert painted.depth.max() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_joints_lie_on_the_person(seed: int) -> None:
    drawn = scene(seed, person=True)
    assert isinstance(drawn.named, Person)
    painted = paint(drawn, (256, 256))
    (joints,) = painted.joints
    assert joints.shape == (18, 2)
    inside = joints[((joints >= 1) & (joints < 255)).all(axis=1)].round().astype(int)
    assert len(inside) >= 12
    around = cv2.dilate(painted.depth, np.ones((5, 5)))  # an ear is at the head's rim
    near = around[inside[:, 1], inside[:, 0]]
    assert np.allclose(near, drawn.named.nearness, atol=0.05)


def test_nearer_things_cover_farther_ones() -> None:
    for seed in range(20):
        nearness = [thing.nearness for thing in scene(seed).things]
        assert nearness == sorted(nearness)


@pytest.mark.parametrize("size", SIZES)
def test_maps_have_the_pictures_size_and_show_something(size: tuple[int, int]) -> None:
    painted = paint(scene(3, person=True), size)
    for made in (control_map(control, painted) for control in UNION_MODES):
        assert made.shape == painted.picture.shape
        assert made.std() > 5
    assert len(np.unique(pose_map(painted).reshape(-1, 3), axis=0)) > 15


@pytest.mark.parametrize("kind", [kind for kind in SHAPE_KINDS if kind != "ball"])
def test_every_shape_has_an_outline_of_about_its_size(kind: str) -> None:
    corners = np.concatenate([points for points, _ in outlines_of(kind)])
    assert 0.9 <= np.hypot(*corners.T).max() <= 1.2


def test_textures_are_of_a_seed_and_use_the_range() -> None:
    first, again, other = (draw_texture(np.random.default_rng(seed), 64) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std() > 5

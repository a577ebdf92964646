"""Our skeletons equal those of controlnet_aux, which ControlNets were trained with."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from controlnet_aux.open_pose import PoseResult, draw_poses
from controlnet_aux.open_pose.body import BodyResult, Keypoint

from models.annotators.skeleton import (
    BODY_JOINTS,
    FACE_POINTS,
    HAND_JOINTS,
    Person,
    Points,
    between,
    draw,
    inside,
)

pytestmark = pytest.mark.torch


def some_points(random: Random, count: int, hidden: float) -> Points:
    """Not in the first row and column: there controlnet_aux draws no hands and faces."""
    return [
        None if random.random() < hidden else (random.uniform(0.01, 1), random.uniform(0.01, 1))
        for _ in range(count)
    ]


def some_person(seed: int) -> Person:
    random = Random(seed)
    return Person(
        some_points(random, BODY_JOINTS, 0.2),
        hands=tuple(some_points(random, HAND_JOINTS, 0.2) for _ in range(2)),
        face=some_points(random, FACE_POINTS, 0.2),
    )


def as_result(person: Person) -> PoseResult:
    """A hidden point of a hand or face has negative coordinates there."""
    body = [point and Keypoint(*point) for point in person.body]
    left, right, face = (
        [Keypoint(*(point or (-1.0, -1.0))) for point in points]
        for points in (*person.hands, person.face)
    )
    return PoseResult(BodyResult(body, 1.0, len(body)), left, right, face)


@pytest.mark.parametrize("size", [(512, 512), (640, 384)])
@pytest.mark.parametrize("seed", range(5))
def test_a_skeleton_has_the_pixels_of_controlnet_aux(seed: int, size: tuple[int, int]) -> None:
    width, height = size
    people = [some_person(seed), some_person(seed + 100)]
    expected = draw_poses([as_result(person) for person in people], height, width)
    assert np.array_equal(draw(people, width, height), expected)


def test_no_person_is_black() -> None:
    assert not draw([], 64, 32).any()
    assert draw([], 64, 32).shape == (32, 64, 3)


def test_points_outside_the_picture_are_hidden() -> None:
    assert inside(0.0, 0.999) == (0.0, 0.999)
    for outside in ((-0.01, 0.5), (1.0, 0.5), (0.5, -0.01), (0.5, 1.0)):
        assert inside(*outside) is None
    assert between((0.2, 0.4), (0.4, 0.8)) == pytest.approx((0.3, 0.6))
    assert between(None, (0.4, 0.8)) is None

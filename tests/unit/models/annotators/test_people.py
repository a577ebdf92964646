"""From people to a map, and the detector that is asked second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.annotators.people import PeopleDetector, PeopleFallback
from models.annotators.skeleton import BODY_JOINTS, Person
from models.controls import pose

pytestmark = pytest.mark.torch

STANDING = Person([(0.25 + 0.01 * joint, 0.5) for joint in range(BODY_JOINTS)])


class Seeing(PeopleDetector):
    """Sees the same people everywhere."""

    def __init__(self, *people: Person) -> None:
        self.found, self.calls = people, 0

    def people(self, picture: Any) -> tuple[Person, ...]:
        assert picture.flags["C_CONTIGUOUS"]
        self.calls += 1
        return self.found


@pytest.mark.parametrize("size", [(512, 512), (320, 208), (64, 1024), (4096, 16)])
def test_a_map_has_the_exact_size_and_its_people_in_place(size: tuple[int, int]) -> None:
    control_map = pose.make(Image.new("RGB", size), size, Seeing(STANDING))
    assert control_map.size == size
    assert pose.has_people(control_map)


def test_a_joint_is_where_the_person_is() -> None:
    dot = Person([(0.75, 0.25), *[None] * (BODY_JOINTS - 1)])
    control_map = np.asarray(pose.make(Image.new("RGB", (300, 200)), (300, 200), Seeing(dot)))
    rows, columns = np.nonzero(control_map.any(axis=-1))
    assert (columns.mean(), rows.mean()) == pytest.approx((225, 50), abs=1)


def test_a_map_without_people_says_so() -> None:
    control_map = pose.make(Image.new("RGB", (64, 64)), (64, 64), Seeing())
    assert not pose.has_people(control_map)


def test_the_second_detector_is_asked_only_where_the_first_finds_no_person() -> None:
    picture, blind, seeing = Image.new("RGB", (64, 64)), Seeing(), Seeing(STANDING)
    assert pose.has_people(pose.make(picture, (64, 64), PeopleFallback(blind, seeing)))
    assert (blind.calls, seeing.calls) == (1, 1)
    assert pose.has_people(pose.make(picture, (64, 64), PeopleFallback(seeing, blind)))
    assert (blind.calls, seeing.calls) == (1, 2)
    assert not pose.has_people(pose.make(picture, (64, 64), PeopleFallback(blind, blind)))

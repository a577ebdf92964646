"""The cache of control maps: a detector runs once per picture."""

from __future__ import annotations

import pytest
from PIL import Image

from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.control_maps import ControlMaps
from models.controls import make_control_map
from models.pipeline import generate
from models.pipeline import make_control_map as make_alone
from models.spec import GenerationSpec
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch

SIZE = (128, 128)


@pytest.fixture
def maps(stand_in: LoadedCheckpoint) -> ControlMaps:
    return ControlMaps(stand_in.annotators, TensorCache(2 * 128 * 128 * 3))


def test_a_repeated_picture_runs_the_detector_once(
    maps: ControlMaps, stand_in: LoadedCheckpoint
) -> None:
    first = maps.make("depth", astronaut(SIZE), SIZE)
    again = maps.make("depth", astronaut(SIZE), SIZE)
    assert maps.detected == 1
    expected = make_control_map("depth", astronaut(SIZE), SIZE, stand_in.annotators)
    assert first.tobytes() == again.tobytes() == expected.tobytes()


def test_the_cache_distinguishes_type_size_and_every_pixel(maps: ControlMaps) -> None:
    other = astronaut(SIZE)
    other.putpixel((0, 0), (1, 2, 3))
    maps.make("depth", astronaut(SIZE), SIZE)
    maps.make("pose", astronaut(SIZE), SIZE)
    maps.make("depth", astronaut(SIZE), (64, 64))
    maps.make("depth", other, SIZE)
    maps.make("depth", Image.frombytes("RGB", (64, 256), astronaut(SIZE).tobytes()), SIZE)
    assert maps.detected == 5


def test_plain_maps_run_no_detector(maps: ControlMaps) -> None:
    for control in ("canny", "tile"):
        maps.make(control, astronaut(SIZE), SIZE)
    assert maps.detected == 0


def test_the_thresholds_of_canny_reach_every_map(stand_in: LoadedCheckpoint) -> None:
    picture = astronaut(SIZE)
    default, few = (make_alone(stand_in, "canny", picture, *both) for both in ((), (200, 250)))
    expected = make_control_map("canny", picture, SIZE, stand_in.annotators, 200, 250)
    assert default.tobytes() != few.tobytes() == expected.tobytes()
    spec = GenerationSpec("x", "canny", *SIZE, steps=2, canny_low=200, canny_high=250)
    made = generate(stand_in, spec, picture, lambda _step, _steps: None)
    assert made.control_map.tobytes() == few.tobytes()


def test_a_map_made_alone_equals_the_map_of_a_generation(stand_in: LoadedCheckpoint) -> None:
    """Preview, then generate: one run of the detector for both."""
    picture = astronaut(SIZE).rotate(7)
    before = stand_in.control_maps.detected
    alone = make_alone(stand_in, "pose", picture)
    spec = GenerationSpec("x", "pose", *SIZE, steps=2)
    made = generate(stand_in, spec, picture, lambda _step, _steps: None)
    assert made.control_map.tobytes() == alone.tobytes()
    assert stand_in.control_maps.detected == before + 1

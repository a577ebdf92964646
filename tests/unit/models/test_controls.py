"""Every control map has the exact size and the content of its type."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.checkpoints import LoadedCheckpoint
from models.controls import canny, make_control_map, tile
from models.spec import CONTROL_NAMES
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch

SIZES = [(512, 512), (320, 208), (64, 64), (16, 16), (1024, 64), (64, 1024), (4096, 16)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("control", CONTROL_NAMES)
def test_a_map_has_the_exact_size(
    stand_in: LoadedCheckpoint, control: str, size: tuple[int, int]
) -> None:
    control_map = make_control_map(control, astronaut(size), size, stand_in.annotators)
    assert control_map.size == size
    assert control_map.mode == "RGB"


def test_a_map_is_made_at_a_size_other_than_the_pictures(stand_in: LoadedCheckpoint) -> None:
    for control in CONTROL_NAMES:
        made = make_control_map(control, astronaut(), (272, 400), stand_in.annotators)
        assert made.size == (272, 400)


def test_canny_draws_the_outline_and_nothing_else() -> None:
    picture = Image.new("RGB", (256, 256), "black")
    ImageDraw.Draw(picture).rectangle((64, 64, 191, 191), fill="white")
    edges = np.asarray(canny.make(picture, (256, 256)))[..., 0]
    assert set(np.unique(edges)) == {0, 255}
    rows, columns = np.nonzero(edges)
    assert abs(rows.min() - 64) <= 2
    assert abs(rows.max() - 191) <= 2
    assert not edges[80:176, 80:176].any()
    assert columns.size > 400


def test_tile_is_the_picture() -> None:
    picture = astronaut((128, 128))
    assert np.array_equal(np.asarray(tile.make(picture, (128, 128))), np.asarray(picture))


def test_depth_uses_the_whole_range(stand_in: LoadedCheckpoint) -> None:
    depth = np.asarray(make_control_map("depth", astronaut(), (512, 512), stand_in.annotators))
    assert depth.min() < 20
    assert depth.max() > 235


def test_a_picture_of_constant_depth_has_a_depth_map(stand_in: LoadedCheckpoint) -> None:
    flat = Image.new("RGB", (128, 128), "grey")
    assert make_control_map("depth", flat, (128, 128), stand_in.annotators).size == (128, 128)


def test_an_unknown_control_is_refused(stand_in: LoadedCheckpoint) -> None:
    with pytest.raises(ValueError, match="sketch"):
        make_control_map("sketch", astronaut(), (64, 64), stand_in.annotators)

"""Every control map has the exact size and the content of its type."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from controlnet_aux.hed import ControlNetHED_Apache2, HEDdetector
from PIL import Image, ImageDraw

from models.checkpoints import LoadedCheckpoint
from models.controls import (
    Annotators,
    annotation,
    blur,
    canny,
    gray,
    lq,
    make_control_map,
    softedge,
    tile,
)
from models.spec import CONTROL_NAMES
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch


@pytest.fixture
def annotators(stand_in: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch) -> Annotators:
    """The stand-in's, with HED in its real class and random weights. They work at an eighth of the
    real size, because HED takes 650 billion operations for a thin picture."""
    monkeypatch.setattr(annotation, "SHORT_SIDE", 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        detector = HEDdetector(ControlNetHED_Apache2().eval())
    return replace(stand_in.annotators, softedge=detector)


SIZES = [(512, 512), (320, 208), (64, 64), (16, 16), (1024, 64), (64, 1024), (4096, 16)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("control", CONTROL_NAMES)
def test_a_map_has_the_exact_size(
    annotators: Annotators, control: str, size: tuple[int, int]
) -> None:
    control_map = make_control_map(control, astronaut(size), size, annotators)
    assert control_map.size == size
    assert control_map.mode == "RGB"


def test_a_map_is_made_at_a_size_other_than_the_pictures(annotators: Annotators) -> None:
    for control in CONTROL_NAMES:
        made = make_control_map(control, astronaut(), (272, 400), annotators)
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


def test_a_control_without_a_detector_is_refused(stand_in: LoadedCheckpoint) -> None:
    for control in ("sketch", "softedge"):
        with pytest.raises(ValueError, match=control):
            make_control_map(control, astronaut(), (64, 64), stand_in.annotators)


def test_soft_edges_are_the_detectors_own_map(annotators: Annotators) -> None:
    """At a size that needs neither scaling nor padding."""
    picture = astronaut((128, 64))
    detector: Any = annotators.softedge
    theirs = detector(picture, detect_resolution=64, image_resolution=64)
    assert np.array_equal(softedge.make(picture, (128, 64), detector), theirs)
    levels = np.asarray(theirs)
    assert levels.std() > 0
    assert (levels == levels[..., :1]).all()


def test_all_networks_of_the_annotators_move_to_the_device(annotators: Annotators) -> None:
    annotators = replace(annotators, depth=copy.deepcopy(annotators.depth))
    annotators = replace(annotators, pose=copy.deepcopy(annotators.pose))
    annotators.to(torch.device("meta"))
    depth: Any = annotators.depth
    pose: Any = annotators.pose
    hed: Any = annotators.softedge
    for network in (depth.model, pose.body_estimation.model, hed.netNetwork):
        assert {tensor.device.type for tensor in network.parameters()} == {"meta"}


def test_canny_finds_more_edges_with_lower_thresholds() -> None:
    few, usual, many = (
        int((np.asarray(canny.make(astronaut(), (256, 256), *thresholds)) > 0).sum())
        for thresholds in ((200, 255), (100, 200), (20, 60))
    )
    assert few < usual < many


def test_blur_removes_details_and_keeps_the_brightness() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, ::2] = 255  # stripes of one pixel
    blurred = np.asarray(blur.make(Image.fromarray(picture), (256, 256)))
    assert blurred[64:192, 64:192].std() < 1
    assert abs(int(blurred[128, 128, 0]) - 127) <= 2


def test_gray_has_the_brightness_without_the_colour() -> None:
    made = np.asarray(gray.make(Image.new("RGB", (64, 64), (255, 0, 0)), (64, 64)))
    assert (made == round(0.299 * 255)).all()


def test_lq_loses_what_is_smaller_than_four_pixels() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, ::2] = 255
    assert np.asarray(lq.make(Image.fromarray(picture), (64, 64))).std() < 20
    flat = Image.new("RGB", (64, 64), (10, 200, 30))
    assert np.array_equal(np.asarray(lq.make(flat, (64, 64))), np.asarray(flat))

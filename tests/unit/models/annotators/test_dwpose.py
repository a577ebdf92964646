"""DWPose with networks that have the published names and shapes, and always see the same person.

The published ones have 351 MB; what is tested is all that surrounds them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.annotators import skeleton
from models.annotators.dwpose import DETECTOR_FILE, POSE_FILE, DwPoseDetector
from models.annotators.dwpose_boxes import Floats, find_boxes
from models.checkpoints.annotators.dwpose import DWPOSE
from models.controls import pose
from tests.support.dwpose_networks import HEIGHT, WIDTH, boxes_output, points_outputs, write_dwpose

pytestmark = pytest.mark.torch

PERSON, DOG = 0, 16
BOX = (320, 200, 150, 200, PERSON, 0.9)
"""A person in a picture of 1280x800, which is seen at half its size."""
PLACES = np.stack([np.linspace(20, 260, 133), np.linspace(370, 20, 133)], axis=1).round()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scores = np.full(133, 0.8)
    scores[10] = 0.29  # the right wrist
    nearly_the_same = (316, 203, 150, 200, PERSON, 0.8)
    dog = (500, 300, 60, 60, DOG, 0.9)
    boxes = boxes_output(BOX, nearly_the_same, dog)
    write_dwpose(tmp_path, boxes, points_outputs(PLACES, scores))
    return tmp_path


def test_every_point_is_where_the_networks_see_it(folder: Path) -> None:
    detector = DWPOSE.load(folder)
    assert isinstance(detector, DwPoseDetector)
    (person,) = detector.people(np.zeros((800, 1280, 3), np.uint8))
    # The box is 300 x 400 pixels around (640, 400); with its margin 375 x 500.
    scale = 500 / HEIGHT
    corner = np.array([640 - scale * WIDTH / 2, 400 - 250])
    expected = (PLACES * scale + corner) / (1280, 800)
    assert person.body[skeleton.NOSE] == pytest.approx(expected[0], abs=1e-6)
    assert person.body[skeleton.LEFT_SHOULDER] == pytest.approx(expected[5], abs=1e-6)
    assert person.body[skeleton.NECK] == pytest.approx(expected[5:7].mean(axis=0), abs=1e-6)
    assert person.body[skeleton.RIGHT_ANKLE] == pytest.approx(expected[16], abs=1e-6)
    assert person.body[skeleton.RIGHT_WRIST] is None
    assert len(person.body) == skeleton.BODY_JOINTS
    assert [len(hand) for hand in person.hands] == [skeleton.HAND_JOINTS] * 2
    assert len(person.face) == skeleton.FACE_POINTS
    assert person.face[0] == pytest.approx(expected[23], abs=1e-6)
    assert person.hands[0][0] == pytest.approx(expected[91], abs=1e-6)
    assert person.hands[1][20] == pytest.approx(expected[132], abs=1e-6)


@pytest.mark.parametrize("size", [(512, 512), (64, 1024), (4096, 16)])
def test_a_map_has_the_exact_size(folder: Path, size: tuple[int, int]) -> None:
    control_map = pose.make(Image.new("RGB", size), size, DWPOSE.load(folder))
    assert control_map.size == size


def test_no_person_gives_a_black_map(tmp_path: Path) -> None:
    write_dwpose(tmp_path, boxes_output(), points_outputs(PLACES, np.ones(133)))
    control_map = pose.make(Image.new("RGB", (64, 64)), (64, 64), DWPOSE.load(tmp_path))
    assert not pose.has_people(control_map)


def test_the_networks_get_the_channels_that_they_were_trained_with() -> None:
    """YOLOX: BGR in 0..255 with a grey border. RTMPose: RGB of mean 0 and deviation 1."""
    seen: dict[str, Floats] = {}

    def boxes(picture: Floats) -> list[Floats]:
        seen["boxes"] = picture
        return [boxes_output((320, 160, 200, 200, PERSON, 0.9))]

    def points(picture: Floats) -> list[Floats]:
        seen["points"] = picture
        return list(points_outputs(PLACES, np.ones(133)))

    picture = np.full((400, 800, 3), (10, 20, 30), np.uint8)
    assert len(DwPoseDetector(boxes, points).people(picture)) == 1
    assert seen["boxes"].dtype == seen["points"].dtype == np.float32
    assert seen["boxes"].shape == (1, 3, 640, 640)
    assert seen["boxes"][0, :, 0, 0] == pytest.approx((30, 20, 10))
    assert seen["boxes"][0, :, 639, 0] == pytest.approx((114, 114, 114))
    assert seen["points"].shape == (1, 3, HEIGHT, WIDTH)
    mean, deviation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    expected = (np.array([10, 20, 30]) - mean) / deviation
    assert seen["points"][0, :, HEIGHT // 2, WIDTH // 2] == pytest.approx(expected, abs=1e-4)


def test_boxes_are_in_pixels_of_the_picture() -> None:
    def network(_picture: Floats) -> list[Floats]:
        return [boxes_output(BOX, (64, 64, 40, 80, PERSON, 0.95), (500, 300, 60, 60, DOG, 0.9))]

    boxes = find_boxes(np.zeros((1280, 800, 3), np.uint8), network)
    assert boxes == pytest.approx(np.array([[88, 48, 168, 208], [490, 200, 790, 600]]), abs=0.01)


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    (folder / POSE_FILE).write_bytes(b"no network")
    with pytest.raises(ValueError, match=f"^[^\n]*{POSE_FILE}: is damaged[^\n]*$"):
        DWPOSE.load(folder)
    (folder / DETECTOR_FILE).unlink()
    with pytest.raises(OSError, match=DETECTOR_FILE):
        DWPOSE.load(folder)

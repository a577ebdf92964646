"""The real BlazePose on real photographs, and its geometry.

The positions were marked by hand, where a person can see the joint: not the arms under a black
coat. A tolerance is a share of the visible height of the person.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image, ImageOps
from skimage import data as photographs

from app.core.images.decode import decode
from models.annotators import skeleton
from models.annotators.blazepose import BlazePoseDetector
from models.annotators.blazepose_regions import Region
from models.annotators.skeleton import Person
from models.checkpoints.annotators.blazepose import BLAZEPOSE
from models.checkpoints.weights import find
from models.controls import pose
from tests.support.blazepose_weights import blazepose_home
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch

TOLERANCE = 0.06
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Marked:
    """height: of the visible part of the person in pixels. joints: joint -> x, y in pixels."""

    picture: Callable[[], Image.Image]
    height: int
    joints: dict[int, tuple[float, float]]


def hopper() -> Image.Image:
    """A photograph of the United States Navy (public domain)."""
    file = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    return Image.open(file).convert("RGB")


def of_skimage(name: str) -> Image.Image:
    return Image.fromarray(getattr(photographs, name)()).convert("RGB")


PEOPLE = {
    "astronaut": Marked(
        astronaut,
        497,
        {
            skeleton.NOSE: (222, 122),
            skeleton.RIGHT_EYE: (204, 101),
            skeleton.LEFT_EYE: (247, 102),
            skeleton.RIGHT_SHOULDER: (88, 245),
            skeleton.LEFT_SHOULDER: (318, 250),
            skeleton.NECK: (203, 247),
            skeleton.RIGHT_ELBOW: (52, 445),
            skeleton.RIGHT_WRIST: (160, 478),
        },
    ),
    "camera": Marked(
        lambda: of_skimage("camera"),
        447,
        {
            skeleton.NOSE: (250, 163),
            skeleton.RIGHT_EYE: (241, 148),
            skeleton.RIGHT_EAR: (188, 142),
            skeleton.RIGHT_SHOULDER: (100, 165),
        },
    ),
    "hopper": Marked(
        hopper,
        580,
        {
            skeleton.NOSE: (268, 235),
            skeleton.RIGHT_EYE: (221, 190),
            skeleton.LEFT_EYE: (305, 187),
            skeleton.RIGHT_SHOULDER: (85, 405),
            skeleton.LEFT_SHOULDER: (440, 408),
        },
    ),
}
HEAD = skeleton.NOSE, skeleton.RIGHT_EYE, skeleton.LEFT_EYE
HEAD_AND_SHOULDERS = *HEAD, skeleton.RIGHT_SHOULDER, skeleton.LEFT_SHOULDER


@pytest.fixture(scope="module")
def detector() -> BlazePoseDetector:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(blazepose_home()))
        folder = find(BLAZEPOSE.part)
    assert folder is not None
    return BlazePoseDetector.in_folder(folder)


def errors(person: Person, marked: Marked, size: tuple[int, int]) -> dict[int, float]:
    """joint -> distance from its mark as a share of the height; infinite if it is hidden."""
    distances = {}
    for joint, (x, y) in marked.joints.items():
        found = person.body[joint]
        distances[joint] = (
            math.inf
            if found is None
            else math.dist((found[0] * size[0], found[1] * size[1]), (x, y))
        )
    return {joint: distance / marked.height for joint, distance in distances.items()}


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("name", PEOPLE)
def test_joints_are_where_a_person_sees_them(
    detector: BlazePoseDetector, name: str, scale: int
) -> None:
    marked = PEOPLE[name]
    picture = marked.picture()
    large = picture.resize((scale * picture.width, scale * picture.height))
    (person,) = detector.people(np.asarray(large))
    found = errors(person, marked, picture.size)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    "name",
    [
        "coffee",
        "chelsea",
        "rocket",
        "horse",
        "coins",
        "page",
        "text",
        "retina",
        "hubble_deep_field",
    ],
)
def test_a_picture_without_people_has_none(detector: BlazePoseDetector, name: str) -> None:
    assert detector.people(np.asarray(of_skimage(name))) == []


def test_a_photograph_that_is_turned_by_exif_is_seen_upright(detector: BlazePoseDetector) -> None:
    marked = PEOPLE["astronaut"]
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned: show it a quarter clockwise
    buffer = io.BytesIO()
    marked.picture().transpose(Image.Transpose.ROTATE_90).save(
        buffer, "JPEG", quality=95, exif=exif
    )
    upright = decode(buffer.getvalue(), 1 << 24, 1 << 24)
    (person,) = detector.people(np.asarray(upright))
    found = errors(person, marked, upright.size)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("turn", [30, 90, 180, 270])
def test_a_person_may_lie_or_stand_on_the_head(detector: BlazePoseDetector, turn: int) -> None:
    marked = PEOPLE["astronaut"]
    picture = marked.picture().rotate(turn)
    (person,) = detector.people(np.asarray(picture))
    angle, middle = math.radians(turn), 256
    joints = {
        joint: (
            middle + (x - middle) * math.cos(angle) + (y - middle) * math.sin(angle),
            middle - (x - middle) * math.sin(angle) + (y - middle) * math.cos(angle),
        )
        for joint, (x, y) in marked.joints.items()
        if joint in HEAD_AND_SHOULDERS
    }
    found = errors(person, Marked(marked.picture, marked.height, joints), picture.size)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    ("name", "box"),
    [
        ("astronaut", (0, 0, 512, 410)),
        ("astronaut", (60, 0, 512, 512)),
        ("astronaut", (30, 10, 400, 330)),
        ("hopper", (0, 0, 512, 480)),
        ("hopper", (60, 10, 512, 420)),
    ],
)
def test_a_part_of_a_person_is_enough(
    detector: BlazePoseDetector, name: str, box: tuple[int, int, int, int]
) -> None:
    """Her head; a wide collar without the arms below hides the astronaut's shoulders."""
    marked = PEOPLE[name]
    picture = marked.picture().crop(box)
    (person,) = detector.people(np.asarray(picture))
    joints = {
        joint: (x - box[0], y - box[1]) for joint, (x, y) in marked.joints.items() if joint in HEAD
    }
    found = errors(person, Marked(marked.picture, marked.height, joints), picture.size)
    assert max(found.values()) < TOLERANCE, found
    for point in person.body:
        assert point is None or max(point) < 1 > -min(point)


def test_everybody_is_found_once(detector: BlazePoseDetector) -> None:
    first, second = (
        PEOPLE["astronaut"].picture(),
        PEOPLE["hopper"].picture().crop((0, 88, 512, 600)),
    )
    group = Image.new("RGB", (3 * 512, 512))
    for place, picture in enumerate((first, second, ImageOps.mirror(first))):
        group.paste(picture, (512 * place, 0))
    people = detector.people(np.asarray(group))
    noses = sorted((person.body[skeleton.NOSE] or (0, 0))[0] * 3 * 512 for person in people)
    assert noses == pytest.approx([222, 512 + 268, 1024 + 512 - 222], abs=TOLERANCE * 512)


@pytest.mark.parametrize("size", [(512, 512), (320, 208), (64, 1024), (4096, 16)])
def test_a_map_has_the_exact_size(detector: BlazePoseDetector, size: tuple[int, int]) -> None:
    assert pose.make(astronaut(size), size, detector).size == size


@pytest.mark.parametrize("degrees", [0, 40, -130])
def test_a_region_is_turned_with_its_person(degrees: int) -> None:
    """Its upper middle is in the direction of the head."""
    angle = math.radians(degrees)
    hips = np.array([100, 80], np.float32)
    end = hips + 20 * np.array([math.sin(angle), -math.cos(angle)], np.float32)
    region = Region.around(hips, end)
    assert region.size == pytest.approx(50)
    matrix = region.to_picture()
    assert matrix @ (0.5, 0.5, 1) == pytest.approx(hips, abs=1e-3)
    top = hips + (end - hips) * 25 / 20
    assert matrix @ (0.5, 0, 1) == pytest.approx(top, abs=1e-3)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="pose_detection.tflite"):
        BLAZEPOSE.load(tmp_path)
    (tmp_path / "pose_detection.tflite").write_bytes(b"no network")
    with pytest.raises(ValueError, match="pose_detection.tflite"):
        BLAZEPOSE.load(tmp_path)

"""Generates pictures of held-out scenes with the server's generate() and scores them.

Owns the scenes and the comparisons. Knows no training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
from controlnet_aux.open_pose import OpenposeDetector
from numpy.typing import NDArray
from PIL import Image

from models.checkpoints import LoadedCheckpoint
from models.controls import canny, depth
from models.pipeline import generate
from models.spec import Control, GenerationSpec, Lora
from tools.demobench import metrics
from tools.demotraining.maps import map_of_pixels
from tools.demotraining.painting import Painted, Pixels, paint
from tools.demotraining.scenes import Scene, draw_scene

STRENGTHS = (0.0, 0.3, 0.6, 1.0)
CONTROLS = ("canny", "depth", "pose", "tile", "blur", "gray", "lq")
PAIRS = (("canny", "pose"), ("tile", "depth"))
SIDE = 256
STEPS = 20
GUIDANCE = 3.5

_POSE_SIDE = 512


@dataclass(frozen=True, slots=True)
class Case:
    """A scene outside the training set, drawn for a control type."""

    scene: Scene
    painted: Painted
    seed: int

    @property
    def picture(self) -> Image.Image:
        return Image.fromarray(self.painted.picture)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a case: the output and the control map that it is judged by."""

    case: Case
    picture: Pixels
    control_map: Pixels


def held_out(control: str, count: int, side: int = SIDE) -> Iterator[Case]:
    """The first `count` cases of a control type, or of several ("canny+pose"); each case of pose
    has a person."""
    for index in range(count):
        rng = Random(f"held out {control} {index}")
        scene = draw_scene(rng, person=True if "pose" in control else None)
        yield Case(scene, paint(scene, (side, side)), index)


def make(
    loaded: LoadedCheckpoint,
    control: str,
    case: Case,
    strength: float,
    stop: float = 1.0,
    guidance: float = GUIDANCE,
    loras: tuple[Lora, ...] = (),
) -> Result:
    """Generate one picture, as for a request."""
    (made,) = make_together(loaded, [control], case, strength, stop, guidance, loras)
    return made


def make_together(
    loaded: LoadedCheckpoint,
    types: Sequence[str],
    case: Case,
    strength: float,
    stop: float = 1.0,
    guidance: float = GUIDANCE,
    loras: tuple[Lora, ...] = (),
) -> list[Result]:
    """Generate one picture with several controls: a result for each of them."""
    height, width = case.painted.picture.shape[:2]
    spec = GenerationSpec(
        prompt=case.scene.prompt,
        control=types[0],
        width=width,
        height=height,
        controls=tuple(Control(one, strength, 0.0, stop) for one in types),
        guidance=guidance,
        steps=STEPS,
        seed=case.seed,
        loras=loras,
    )
    done = generate(loaded, spec, [case.picture] * len(types), lambda _step, _steps: None)
    return [Result(case, done.pictures[0], np.asarray(one)) for one in done.control_maps]


def judge(loaded: LoadedCheckpoint, control: str) -> Callable[[Result, Result], float]:
    """The score of a picture against the control of a case (another case for chance level)."""

    def edges(result: Result, wanted: Result) -> float:
        size = result.picture.shape[1], result.picture.shape[0]
        found = np.asarray(canny.make(Image.fromarray(result.picture), size))
        return metrics.edge_f1(found[..., 0] > 0, wanted.control_map[..., 0] > 0)

    def nearness(result: Result, wanted: Result) -> float:
        size = result.picture.shape[1], result.picture.shape[0]
        seen = depth.make(Image.fromarray(result.picture), size, loaded.annotators.depth)
        return metrics.rank_correlation(np.asarray(seen)[..., 0], wanted.control_map[..., 0])

    def stance(result: Result, wanted: Result) -> float:
        size = result.picture.shape[1], result.picture.shape[0]
        (joints,) = wanted.case.painted.joints
        return metrics.joints_met(people_in(loaded, result.picture), joints, size)

    def layout(result: Result, wanted: Result) -> float:
        return metrics.tile_psnr(result.picture, wanted.case.painted.picture)

    def same_map(result: Result, wanted: Result) -> float:
        return metrics.psnr(map_of_pixels(control, result.picture), wanted.control_map)

    known = {"canny": edges, "depth": nearness, "pose": stance, "tile": layout}
    return known.get(control, same_map)


def named_colour(result: Result) -> float:
    """Whether the thing that the prompt names first has the named colour at its place."""
    painted = result.case.painted
    inner = cv2.erode(painted.named.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    named = inner if inner.any() else painted.named
    return metrics.colour_right(result.picture, named, result.case.scene.named_colour)


def people_in(loaded: LoadedCheckpoint, picture: Pixels) -> list[NDArray[np.float64]]:
    """The joints of every person that the pose annotator detects, in pixels; NaN if missed."""
    detector = loaded.annotators.pose
    assert isinstance(detector, OpenposeDetector)
    height, width = picture.shape[:2]
    scale = _POSE_SIDE / min(width, height)
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return [
        np.array(
            [(joint.x * width, joint.y * height) if joint else (np.nan,) * 2 for joint in joints]
        )
        for joints in (found.body.keypoints for found in detector.detect_poses(large))
    ]

"""Stage 2: the depth and pose networks, on painted scenes whose depth and joints are known.

Owns their targets and losses. models.checkpoints.demo_annotators defines the networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints.demo_annotators import BodyPoseNet, DepthNet
from tools.demotraining.coder import to_tensor
from tools.demotraining.painting import Painted, Pixels, paint
from tools.demotraining.scenes import draw_scene

# The order and the numbering of OpenPose's limbs (controlnet_aux.open_pose.body): joints from 1,
# and for each limb the first of its two fields.
LIMBS = (
    (2, 3, 12), (2, 6, 20), (3, 4, 14), (4, 5, 16), (6, 7, 22), (7, 8, 24), (2, 9, 0),
    (9, 10, 2), (10, 11, 4), (2, 12, 6), (12, 13, 8), (13, 14, 10), (2, 1, 28), (1, 15, 30),
    (15, 17, 34), (1, 16, 32), (16, 18, 36), (3, 17, 18), (6, 18, 26),
)  # fmt: skip

_SIDE = 256
_BODY_SIDE = 184
"""The size to which Body scales a square picture: half of 368."""
_STRIDE = 8
_JOINT_WIDTH = 0.9
_LIMB_WIDTH = 0.8
"""In cells of the joint maps."""

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Lesson:
    """A painted scene as a training example of the annotators."""

    picture: Pixels
    depth: NDArray[np.float32]
    joints: NDArray[np.float32]


def draw_lessons(seed: int, count: int, person: bool | None) -> list[Lesson]:
    """`count` scenes; with a person, without, or mixed (None)."""

    def lesson(index: int) -> Lesson:
        scene = draw_scene(Random(f"annotators {seed} {person} {index}"), person)
        painted: Painted = paint(scene, (_SIDE, _SIDE))
        return Lesson(painted.picture, painted.depth, painted.joints)

    return [lesson(index) for index in range(count)]


class DepthLoss:
    """The distance between predicted and true depth, and between their edges."""

    def __init__(self, network: DepthNet, lessons: list[Lesson]) -> None:
        self._network, self._lessons = network, lessons

    def __call__(self, rng: np.random.Generator, _passed: float) -> Tensor:
        chosen = [self._lessons[int(i)] for i in rng.integers(len(self._lessons), size=_BATCH)]
        pictures = torch.stack([to_tensor(_worn(rng, one.picture)) for one in chosen])
        depth = torch.stack([torch.from_numpy(one.depth) for one in chosen])
        # The detector doubles the size, and the network halves it again.
        doubled = functional.interpolate(pictures, scale_factor=2, mode="bilinear")
        wanted = functional.interpolate(depth[:, None], scale_factor=2, mode="bilinear")[:, 0]
        seen = _seen(self._network, doubled)
        error: Tensor = seen - wanted.to(seen.device)
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return error.abs().mean() + edges


class PoseLoss:
    """Squared distance to OpenPose's limb fields and joint maps."""

    def __init__(self, network: BodyPoseNet, lessons: list[Lesson]) -> None:
        self._network, self._lessons = network, lessons

    def __call__(self, rng: np.random.Generator, _passed: float) -> Tensor:
        chosen = [self._lessons[int(i)] for i in rng.integers(len(self._lessons), size=_BATCH)]
        shifts = rng.uniform(-24, 24, (_BATCH, 2)).astype(np.float32)
        seen, fields, maps = [], [], []
        for one, shift in zip(chosen, shifts, strict=True):
            picture, joints = _shifted(_worn(rng, one.picture), one.joints, shift)
            small = cv2.resize(picture, (_BODY_SIDE,) * 2, interpolation=cv2.INTER_AREA)
            seen.append(torch.from_numpy(small[..., ::-1].copy()).permute(2, 0, 1) / 256 - 0.5)
            cells = ((joints + 0.5) * _BODY_SIDE / _SIDE - 0.5 - (_STRIDE - 1) / 2) / _STRIDE
            fields.append(limb_fields(cells, _BODY_SIDE // _STRIDE))
            maps.append(joint_maps(cells, _BODY_SIDE // _STRIDE))
        limbs, joint = _seen(self._network, torch.stack(seen))
        wanted_limbs = torch.from_numpy(np.stack(fields)).to(limbs.device)
        wanted_maps = torch.from_numpy(np.stack(maps)).to(limbs.device)
        # Most cells are empty: weight the others higher.
        heavy = 1 + 10 * wanted_maps[:, :-1].amax(dim=1, keepdim=True)
        limb_error: Tensor = ((limbs - wanted_limbs) ** 2 * heavy).mean()
        joint_error: Tensor = ((joint - wanted_maps) ** 2 * heavy).mean()
        return limb_error + 2 * joint_error


def joint_maps(cells: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """[19, side, side]: a Gaussian per joint of people [N, 18, 2] in cells; last, background."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    maps = np.zeros((JOINTS_AND_BACKGROUND, side, side), np.float32)
    for person in cells:
        for index, (across, down) in enumerate(person):
            hill = np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * _JOINT_WIDTH**2))
            maps[index] = np.maximum(maps[index], hill)
    maps[-1] = 1 - maps[:-1].max(axis=0)
    return maps


JOINTS_AND_BACKGROUND = 19


def limb_fields(cells: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """[38, side, side]: along each limb its direction, elsewhere 0."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    fields = np.zeros((2 * len(LIMBS), side, side), np.float32)
    for person in cells:
        for first, second, field in LIMBS:
            start, end = person[first - 1], person[second - 1]
            length = max(1e-3, float(np.hypot(*(end - start))))
            unit = (end - start) / length
            along = (x - start[0]) * unit[0] + (y - start[1]) * unit[1]
            across = np.abs((x - start[0]) * unit[1] - (y - start[1]) * unit[0])
            near = (across < _LIMB_WIDTH) & (along > -_LIMB_WIDTH) & (along < length + _LIMB_WIDTH)
            fields[field][near], fields[field + 1][near] = unit
    return fields


def _seen(network: nn.Module, pictures: Tensor) -> Any:
    """The network's output for pictures, in the fastest layout and dtype."""
    device = next(network.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        return network(pictures.to(device, memory_format=torch.channels_last))


def _worn(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Degrade a picture like a generated one: softer, noisier, slightly wrong in colour."""
    worn = picture
    if rng.random() < 0.6:
        worn = cv2.GaussianBlur(worn, (0, 0), float(rng.uniform(0.4, 2.0)))
    noise = rng.standard_normal((64, 64, 3), dtype=np.float32) * rng.uniform(0, 12)
    noise = cv2.resize(noise, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    gain = rng.uniform(0.93, 1.07, 3)
    levels: Pixels = np.clip(worn * gain + noise, 0, 255).astype(np.uint8)
    return levels


def _shifted(
    picture: Pixels, joints: NDArray[np.float32], shift: NDArray[np.float32]
) -> tuple[Pixels, NDArray[np.float32]]:
    """The picture and its joints moved by `shift` pixels, with the edge repeated."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved: Pixels = cv2.warpAffine(
        picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    )
    return moved, joints + shift

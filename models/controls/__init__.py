"""Control maps: from an RGB picture to what the ControlNet is shown, always of the exact size.

Canny and tile are plain image processing; depth and pose ask a detector that belongs to the
loaded checkpoint. Nothing here knows the ControlNet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from controlnet_aux.midas import MidasDetector
from controlnet_aux.open_pose import OpenposeDetector
from PIL import Image

from models.controls import canny, depth, pose, tile
from models.geometry import Size


@dataclass(frozen=True, slots=True)
class Annotators:
    """The detectors of a checkpoint."""

    depth: MidasDetector
    pose: OpenposeDetector

    def to(self, device: torch.device) -> None:
        """Move both networks."""
        self.depth.to(device)
        # OpenposeDetector.to also wants the hand and face networks, which are not loaded.
        self.pose.body_estimation.to(device)


def make_control_map(
    control: str, picture: Image.Image, size: Size, annotators: Annotators
) -> Image.Image:
    """The control map of type `control` (models.spec.CONTROL_NAMES), RGB of exactly `size`."""
    if control == "canny":
        control_map = canny.make(picture, size)
    elif control == "tile":
        control_map = tile.make(picture, size)
    elif control == "depth":
        control_map = depth.make(picture, size, annotators.depth)
    elif control == "pose":
        control_map = pose.make(picture, size, annotators.pose)
    else:
        raise ValueError(f"unknown control type {control!r}")
    assert control_map.size == size
    assert control_map.mode == "RGB"
    return control_map

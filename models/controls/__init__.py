"""Control maps: makes the ControlNet's input, of the exact size, from an RGB picture.

Depth, pose and softedge need a detector of the loaded checkpoint; the others are plain image
processing. Knows no ControlNet and imports no torch: a caller with a detector has imported it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.controls import blur, canny, depth, gray, lq, pose, softedge, tile
from models.geometry import Size
from models.spec import CANNY_HIGH, CANNY_LOW

if TYPE_CHECKING:
    import torch

_PLAIN = {"tile": tile.make, "blur": blur.make, "gray": gray.make, "lq": lq.make}


class Detector(Protocol):
    """Makes a control map of an RGB picture, as controlnet_aux's detectors do.

    The map is uint8, [height, width] or [height, width, 3], of any size that has roughly the
    picture's aspect ratio. A resolution is a length of the short side in pixels.
    """

    def __call__(
        self,
        input_image: NDArray[np.uint8],
        *,
        detect_resolution: int,
        image_resolution: int,
        output_type: str,
    ) -> NDArray[np.uint8]: ...

    def to(self, device: torch.device) -> Any: ...


@dataclass(frozen=True, slots=True)
class Annotators:
    """The detectors of a checkpoint. softedge: None where the checkpoint does not serve it."""

    depth: Detector
    pose: Detector
    softedge: Detector | None = None

    def to(self, device: torch.device) -> None:
        """Move all networks."""
        self.depth.to(device)
        self.pose.to(device)
        if self.softedge is not None:
            self.softedge.to(device)


def make_plain_map(
    control: str,
    picture: Image.Image,
    size: Size,
    canny_low: int = CANNY_LOW,
    canny_high: int = CANNY_HIGH,
) -> Image.Image | None:
    """The control map of a type that needs no detector; None for the others."""
    if control == "canny":
        return canny.make(picture, size, canny_low, canny_high)
    return _PLAIN[control](picture, size) if control in _PLAIN else None


def make_control_map(
    control: str,
    picture: Image.Image,
    size: Size,
    annotators: Annotators,
    canny_low: int = CANNY_LOW,
    canny_high: int = CANNY_HIGH,
) -> Image.Image:
    """The control map of type `control` (models.spec.CONTROL_NAMES), RGB of exactly `size`."""
    plain = make_plain_map(control, picture, size, canny_low, canny_high)
    if plain is not None:
        control_map = plain
    elif control == "depth":
        control_map = depth.make(picture, size, annotators.depth)
    elif control == "pose":
        control_map = pose.make(picture, size, annotators.pose)
    elif control == "softedge" and annotators.softedge is not None:
        control_map = softedge.make(picture, size, annotators.softedge)
    else:
        raise ValueError(f"unknown control type {control!r}")
    assert control_map.size == size
    assert control_map.mode == "RGB"
    return control_map

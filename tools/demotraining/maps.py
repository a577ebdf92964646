"""Draws the control maps of a painted scene, in the style of the server's maps.

Depth and pose are exact; the other types are made by the server's code. Knows no network.
"""

from __future__ import annotations

import numpy as np
from controlnet_aux.open_pose.body import Keypoint
from controlnet_aux.open_pose.util import draw_bodypose
from PIL import Image

from models.controls import blur, canny, gray, lq, tile
from tools.demotraining.painting import Painted, Pixels

_POSE_SIDE = 512
"""Shorter side at which OpenPose draws its sticks (models.controls.annotation.SHORT_SIDE)."""


_OF_PIXELS = {
    "canny": canny.make,
    "tile": tile.make,
    "blur": blur.make,
    "gray": gray.make,
    "lq": lq.make,
}


def control_map(control: str, painted: Painted) -> Pixels:
    """The map of a scene for any type of control."""
    if control == "depth":
        return depth_map(painted)
    return pose_map(painted) if control == "pose" else map_of_pixels(control, painted.picture)


def map_of_pixels(control: str, picture: Pixels) -> Pixels:
    """The map of any picture, for the types that need no annotator."""
    size = picture.shape[1], picture.shape[0]
    return np.asarray(_OF_PIXELS[control](Image.fromarray(picture), size))


def depth_map(painted: Painted) -> Pixels:
    """Near is bright; stretched to the whole range, as MidasDetector does."""
    depth = painted.depth - painted.depth.min()
    levels = (depth / max(1e-6, float(depth.max())) * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def pose_map(painted: Painted) -> Pixels:
    """Coloured sticks on black, drawn by controlnet_aux."""
    height, width = painted.picture.shape[:2]
    scale = _POSE_SIDE / min(width, height)
    canvas = np.zeros((round(height * scale), round(width * scale), 3), np.uint8)
    for person in painted.joints:
        points = [
            Keypoint(x / width, y / height) if 0 <= x < width and 0 <= y < height else None
            for x, y in person.tolist()
        ]
        canvas = draw_bodypose(canvas, points)
    drawn = Image.fromarray(canvas).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(drawn)

"""Draws the exact control maps of a painted scene, in the style of the server's maps.

Knows no network.
"""

from __future__ import annotations

import numpy as np
from controlnet_aux.open_pose.body import Keypoint
from controlnet_aux.open_pose.util import draw_bodypose
from PIL import Image

from models.controls import canny
from tools.demotraining.painting import Painted, Pixels

_POSE_SIDE = 512
"""Shorter side at which OpenPose draws its sticks (models.controls.annotation.SHORT_SIDE)."""


def canny_map(painted: Painted) -> Pixels:
    """White edges on black, from the server's code."""
    return edges_of(painted.picture)


def edges_of(picture: Pixels) -> Pixels:
    """White edges on black, of any picture."""
    size = picture.shape[1], picture.shape[0]
    return np.asarray(canny.make(Image.fromarray(picture), size))


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

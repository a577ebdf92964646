"""The two networks of DWPose with their published names and shapes, which always see the same
person."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.annotators.dwpose import DETECTOR_FILE, POSE_FILE
from tests.support.onnx_networks import write_network

WIDTH, HEIGHT = 288, 384
"""Of the picture that the pose network sees."""

Floats = NDArray[np.float32]


def boxes_output(*boxes: tuple[float, float, float, float, int, float]) -> Floats:
    """boxes: centre x and y, width and height in pixels of the 640 square, class, score."""
    output = np.zeros((1, 8400, 85), np.float32)
    for x, y, width, height, kind, score in boxes:
        column, row = int(x // 32), int(y // 32)
        anchor = output[0, 80 * 80 + 40 * 40 + row * 20 + column]
        anchor[:4] = x / 32 - column, y / 32 - row, math.log(width / 32), math.log(height / 32)
        anchor[4] = 1
        anchor[5 + kind] = score
    return output


def points_outputs(
    places: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[Floats, Floats]:
    """places: [133, 2] in pixels of the network's picture. scores: [133]."""
    along_x = np.zeros((1, 133, 2 * WIDTH), np.float32)
    along_y = np.zeros((1, 133, 2 * HEIGHT), np.float32)
    for point, ((x, y), score) in enumerate(zip(places, scores, strict=True)):
        along_x[0, point, round(2 * x)] = along_y[0, point, round(2 * y)] = score
    return along_x, along_y


def write_dwpose(
    folder: Path,
    boxes: Floats,
    points: tuple[Floats, Floats],
    sizes: Mapping[str, int] | None = None,
) -> None:
    """sizes: file -> bytes."""
    sizes = sizes or {}
    write_network(
        folder / DETECTOR_FILE,
        ("images", (1, 3, 640, 640)),
        {"output": boxes},
        sizes.get(DETECTOR_FILE),
    )
    write_network(
        folder / POSE_FILE,
        ("input", (1, 3, HEIGHT, WIDTH)),
        {"simcc_x": points[0], "simcc_y": points[1]},
        sizes.get(POSE_FILE),
    )

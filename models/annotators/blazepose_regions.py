"""Where people are: the detector of BlazePose (Bazarevsky et al., arXiv 2006.10204).

A single-shot detector with anchors of one size. Instead of a box it is used for two points of each
person, the middle of the hips and the end of a circle around the whole body; they give the rotated
square that the landmark network expects. The numbers of the anchors and thresholds are those of
MediaPipe's graphs (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Network = Callable[[Floats], list[Floats]]
"""A picture [1, side, side, 3] -> the network's outputs."""

_SIDE = 224
_GRIDS = ((28, 2), (14, 2), (7, 6))
"""Cells along a side, and anchors in each cell."""
_MIN_SCORE, _MIN_SCORE_IN_PART, _MAX_OVERLAP = 0.5, 0.7, 0.3
_PLACES = [0, 2, 3, 4, 5]
"""Of the six pairs of a detection those that are places; the second one is a size."""
_LONG = 1.25
"""Of the sides: a picture of a higher ratio is seen in parts too."""
_MARGIN = 1.25
"""Side of the square over the diameter of the circle."""


@dataclass(frozen=True, slots=True)
class Region:
    """A square around a person. x, y: its centre; size: its side, in pixels of the picture.
    angle: clockwise turn of the person from upright, in radians."""

    x: float
    y: float
    size: float
    angle: float

    @classmethod
    def around(cls, hips: Floats, end: Floats) -> Region:
        """hips, end: the centre and the upper end of the circle around a person."""
        across, up = float(end[0] - hips[0]), float(hips[1] - end[1])
        size = max(1.0, 2 * _MARGIN * math.hypot(across, up))
        return cls(float(hips[0]), float(hips[1]), size, math.atan2(across, up))

    def to_picture(self) -> Floats:
        """The matrix [2, 3] from the square, 0..1 in both directions, to the picture."""
        cos, sin = self.size * math.cos(self.angle), self.size * math.sin(self.angle)
        left, top = self.x - (cos - sin) / 2, self.y - (sin + cos) / 2
        return np.array([[cos, -sin, left], [sin, cos, top]], np.float32)

    def cut(self, picture: Pixels, side: int) -> Pixels:
        """The square as a picture of `side` pixels, upright, black where the picture ends."""
        shrunk = min(1.0, side / self.size)
        if shrunk < 1:  # averaging, which the turn itself cannot do
            scaled = (max(1, round(length * shrunk)) for length in picture.shape[1::-1])
            picture = cv2.resize(picture, tuple(scaled), interpolation=cv2.INTER_AREA)
        turn = self.to_picture() * shrunk
        turn[:, :2] /= side
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(picture, turn, (side, side), flags=flags), np.uint8)


def find_regions(picture: Pixels, network: Network) -> list[Region]:
    """The regions of the people in an RGB picture, the most certain first.

    A wide or high picture is also seen in overlapping squares, in which its people are larger.
    """
    seen = [_detect(picture, square, network) for square in _squares(picture)]
    points = np.concatenate([points for points, _ in seen])
    scores = np.concatenate([scores for _, scores in seen])
    return [Region.around(*person[2:4]) for person in _merged(points, scores)]


def _squares(picture: Pixels) -> list[Region]:
    height, width = picture.shape[:2]
    short, longest = sorted((height, width))
    squares = [Region(width / 2, height / 2, longest, 0)]
    steps = math.ceil(2 * (longest - short) / short)  # of half a square at most
    if longest < _LONG * short:
        return squares
    for step in range(steps + 1):
        middle = short / 2 + (longest - short) * step / steps
        x, y = (middle, short / 2) if width > height else (short / 2, middle)
        squares.append(Region(x, y, short, 0))
    return squares


def _detect(picture: Pixels, square: Region, network: Network) -> tuple[Floats, Floats]:
    """The certain detections in a square: the centre and the size of a box and four points each,
    [N, 6, 2] in pixels of the picture, and their scores [N]."""
    levels = np.asarray(square.cut(picture, _SIDE) / 127.5 - 1, np.float32)
    logits, coordinates = (output[0] for output in sorted(network(levels[None]), key=np.size))
    scores = sigmoid(logits[:, 0])
    points = (coordinates / _SIDE).reshape(-1, 6, 2)
    points[:, _PLACES] += _anchors()[:, None]
    points *= square.size
    points[:, _PLACES] += (square.x - square.size / 2, square.y - square.size / 2)
    whole = square.size >= max(picture.shape[:2])
    certain = scores >= (_MIN_SCORE if whole else _MIN_SCORE_IN_PART)
    return points[certain], scores[certain]


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-80, 80))), np.float32)


def _anchors() -> Floats:
    """The centres of the anchors, [2254, 2] in 0..1."""
    grids = []
    for cells, repeats in _GRIDS:
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2).repeat(repeats, axis=0))
    return np.concatenate(grids)


def _merged(points: Floats, scores: Floats) -> list[Floats]:
    """One entry for each person: the mean of overlapping detections, weighted by their scores."""
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    people = []
    while len(points):
        same = _overlaps(points[0], points) > _MAX_OVERLAP
        same[0] = True
        people.append(np.average(points[same], axis=0, weights=scores[same]))
        points, scores = points[~same], scores[~same]
    return people


def _overlaps(first: Floats, others: Floats) -> Floats:
    """Intersection over union of the first one's box with each of the others."""
    low = np.maximum(first[0] - first[1] / 2, others[:, 0] - others[:, 1] / 2)
    high = np.minimum(first[0] + first[1] / 2, others[:, 0] + others[:, 1] / 2)
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = first[1].prod() + others[:, 1].prod(axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float32)

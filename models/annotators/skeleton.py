"""People and their skeletons, in the colours and widths in which OpenPose's maps are drawn.

ControlNets know these maps, so the pixels equal those of controlnet_aux's functions. Theirs are not
called: their module is licensed for non-commercial use, and for hands it needs matplotlib.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""x, y as shares of the picture's width and height, from the top left."""

Points = Sequence[Point | None]
"""None for a point that is hidden or outside the picture."""

Pixels = NDArray[np.uint8]

BODY_JOINTS, HAND_JOINTS, FACE_POINTS = 18, 21, 68

NOSE, NECK = 0, 1
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST = 2, 3, 4
LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 5, 6, 7
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE = 8, 9, 10
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 12, 13
RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 14, 15, 16, 17

_LIMBS = (
    *((NECK, RIGHT_SHOULDER), (NECK, LEFT_SHOULDER)),
    *((RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST)),
    *((LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST)),
    *((NECK, RIGHT_HIP), (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE)),
    *((NECK, LEFT_HIP), (LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE)),
    *((NECK, NOSE), (NOSE, RIGHT_EYE), (RIGHT_EYE, RIGHT_EAR), (NOSE, LEFT_EYE)),
    (LEFT_EYE, LEFT_EAR),
)
_FINGERS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5)
    for joint in range(4)
)

_LIMB_WIDTH, _JOINT_RADIUS, _BONE_WIDTH, _FACE_RADIUS = 4, 4, 2, 3
_LIMB_BRIGHTNESS = 0.6
_HAND_COLOUR, _FACE_COLOUR = (0, 0, 255), (255, 255, 255)


def _hue(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * level) for level in colorsys.hsv_to_rgb(share, 1, 1))
    return red, green, blue


_COLOURS = tuple(_hue(joint / BODY_JOINTS) for joint in range(BODY_JOINTS))


@dataclass(frozen=True, slots=True)
class Person:
    """The points of a person.

    body: 18 joints in OpenPose's order. hands: up to two of 21 joints, from the wrist through the
    fingers from the thumb on. face: none, or 68 points.
    """

    body: Points
    hands: tuple[Points, ...] = ()
    face: Points = ()


def draw(people: Sequence[Person], width: int, height: int) -> Pixels:
    """The skeletons on black, [height, width, 3]."""
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in people:
        _draw_body(canvas, _in_pixels(person.body, canvas))
        for hand in person.hands:
            _draw_hand(canvas, _in_pixels(hand, canvas))
        _draw_dots(canvas, _in_pixels(person.face, canvas), _FACE_RADIUS, _FACE_COLOUR)
    return canvas


def inside(x: float, y: float) -> Point | None:
    """The point if it is in the picture, else None."""
    return (x, y) if 0 <= x < 1 and 0 <= y < 1 else None


def between(first: Point | None, second: Point | None) -> Point | None:
    """The middle of two points; None if one of them is None."""
    if first is None or second is None:
        return None
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2


def _in_pixels(points: Points, canvas: Pixels) -> Points:
    height, width = canvas.shape[:2]
    return [point and (point[0] * width, point[1] * height) for point in points]


def _draw_body(canvas: Pixels, joints: Points) -> None:
    for (first, second), colour in zip(_LIMBS, _COLOURS, strict=False):  # there is one more colour
        start, end = joints[first], joints[second]
        if start is None or end is None:
            continue
        middle = int((start[0] + end[0]) / 2), int((start[1] + end[1]) / 2)
        across, down = start[0] - end[0], start[1] - end[1]
        axes = int(math.hypot(across, down) / 2), _LIMB_WIDTH
        angle = int(math.degrees(math.atan2(down, across)))
        outline = cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1)
        dark = [int(_LIMB_BRIGHTNESS * level) for level in colour]
        cv2.fillConvexPoly(canvas, outline, dark)
    for joint, colour in zip(joints, _COLOURS, strict=True):
        _draw_dots(canvas, [joint], _JOINT_RADIUS, colour)


def _draw_hand(canvas: Pixels, joints: Points) -> None:
    for bone, (first, second) in enumerate(_FINGERS):
        start, end = joints[first], joints[second]
        if start is not None and end is not None:
            cv2.line(canvas, _whole(start), _whole(end), _hue(bone / len(_FINGERS)), _BONE_WIDTH)
    _draw_dots(canvas, joints, _JOINT_RADIUS, _HAND_COLOUR)


def _draw_dots(canvas: Pixels, points: Points, radius: int, colour: Sequence[int]) -> None:
    for point in points:
        if point is not None:
            cv2.circle(canvas, _whole(point), radius, colour, thickness=-1)


def _whole(point: Point) -> tuple[int, int]:
    return int(point[0]), int(point[1])

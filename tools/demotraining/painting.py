"""Paints a scene: the picture, its exact depth, its exact joints, and a mask of the named colour.

Paints at twice the size and averages down, so that edges are as soft as a camera's. Knows no
training.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.demotraining.colours import BACKGROUND_COLOURS, OBJECT_COLOURS, Colour, lit
from tools.demotraining.people import HEAD_RADIUS, JOINTS, head_of, joints_of
from tools.demotraining.scenes import Person, Scene, Shape

_OVERSAMPLING = 2
_HAIR: Colour = (45, 32, 25)
_GRADIENT_DEPTH = 0.25
"""How near a gradient wall comes at its near end."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Painted:
    """picture: uint8 RGB [H, W, 3]. depth: nearness 0..1, float32 [H, W]. joints: [people, 18, 2]
    in pixels. named: bool [H, W], where the named thing shows its colour."""

    picture: Pixels
    depth: NDArray[np.float32]
    joints: NDArray[np.float32]
    named: NDArray[np.bool_]


def paint(scene: Scene, size: tuple[int, int]) -> Painted:
    """`scene` at (width, height)."""
    canvas = _Canvas(size)
    canvas.wall(scene)
    joints = []
    for thing in scene.things:
        canvas.named[:] = 0
        if isinstance(thing, Shape):
            canvas.shape(thing)
        else:
            joints.append(canvas.person(thing))
    return canvas.painted(joints)


class _Canvas:
    """Picture, depth and mask of a scene in the making, all oversampled."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._width, self._height = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
        self._unit = min(self._width, self._height)
        self._picture = np.zeros((self._height, self._width, 3), np.uint8)
        self._depth = np.zeros((self._height, self._width), np.float32)
        self.named = np.zeros((self._height, self._width), np.uint8)

    def wall(self, scene: Scene) -> None:
        wall = scene.background
        base = np.array(BACKGROUND_COLOURS[wall.colour], np.float32)
        ramp: NDArray[np.floating] = np.full((self._height, self._width), 0.8, np.float32)
        if wall.gradient:
            angle = radians(wall.angle)
            x = np.linspace(-1, 1, self._width, dtype=np.float32)[None]
            y = np.linspace(-1, 1, self._height, dtype=np.float32)[:, None]
            along = (x * cos(angle) + y * sin(angle)) / (abs(cos(angle)) + abs(sin(angle)))
            near = (along + 1) / 2
            self._depth[:] = near * _GRADIENT_DEPTH
            ramp = 0.45 + 0.6 * near
        self._picture[:] = np.clip(base * ramp[..., None], 0, 255).astype(np.uint8)

    def shape(self, shape: Shape) -> None:
        if shape.kind == "ball":
            self._ball(shape)
            return
        mask = np.zeros_like(self.named)
        for outline, filled in outlines_of(shape.kind):
            points = self._places(outline * shape.size, shape.x, shape.y, shape.turn)
            cv2.fillPoly(mask, [points], 255 if filled else 0)
        self._fill(mask > 0, OBJECT_COLOURS[shape.colour], shape.nearness, named=True)

    def _ball(self, ball: Shape) -> None:
        centre, radius = self._place(ball.x, ball.y), ball.size * self._unit
        y, x = np.mgrid[0 : self._height, 0 : self._width].astype(np.float32)
        x, y = (x - centre[0]) / radius, (y - centre[1]) / radius
        inside = x**2 + y**2 <= 1
        height = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
        light = np.clip(0.55 + 0.5 * (height * 0.75 - x * 0.35 - y * 0.45), 0.45, 1.0)
        colour = np.array(lit(OBJECT_COLOURS[ball.colour], ball.nearness), np.float32)
        self._picture[inside] = (colour * light[..., None])[inside].astype(np.uint8)
        # No nearer than the next thing may be.
        self._depth[inside] = (ball.nearness - 0.08 + 0.08 * height)[inside]
        self.named[inside] = 255

    def person(self, person: Person) -> NDArray[np.float32]:
        """Paint a person. Returns the joints in pixels of the finished picture."""
        points = np.array(joints_of(person.stance), np.float32) * person.size
        points += (person.x, person.y)
        at = dict(zip(JOINTS, points, strict=True))
        shirt, trousers = OBJECT_COLOURS[person.shirt], OBJECT_COLOURS[person.trousers]

        def limb(colour: Colour, width: float, *names: str, named: bool = False) -> None:
            mask = np.zeros_like(self.named)
            places = [self._place(*at[name]) for name in names]
            thickness = max(1, round(width * person.size * self._unit))
            for start, end in pairwise(places):
                cv2.line(mask, start, end, 255, thickness)
            self._fill(mask > 0, colour, person.nearness, named=named)

        def disc(colour: Colour, x: float, y: float, radius: float) -> None:
            mask = np.zeros_like(self.named)
            size = max(1, round(radius * person.size * self._unit))
            cv2.circle(mask, self._place(x, y), size, 255, -1)
            self._fill(mask > 0, colour, person.nearness, named=False)

        for side in ("right", "left"):
            limb(trousers, 0.075, f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        self._trunk(at, shirt, person)
        for side in ("right", "left"):
            limb(shirt, 0.06, f"{side}_shoulder", f"{side}_elbow", named=True)
            limb(person.skin, 0.045, f"{side}_elbow", f"{side}_wrist")
        limb(person.skin, 0.05, "neck", "nose")
        x, y = (coordinate * person.size for coordinate in head_of(person.stance))
        x, y = x + person.x, y + person.y
        lift = 0.03 * person.size
        disc(_HAIR, x + lift * sin(radians(person.stance.lean)), y - lift, HEAD_RADIUS)
        disc(person.skin, x, y, HEAD_RADIUS * 0.92)
        for joint in ("right_eye", "left_eye"):
            across, down = at[joint]
            disc(_HAIR, float(across), float(down), 0.013)
        return self._finished(points)

    def _trunk(self, at: dict[str, NDArray[np.float32]], shirt: Colour, person: Person) -> None:
        mask = np.zeros_like(self.named)
        corners = ("right_shoulder", "left_shoulder", "left_hip", "right_hip")
        outline = np.array([self._place(*at[name]) for name in corners], np.int32)
        cv2.fillPoly(mask, [outline], 255)
        thickness = max(1, round(0.055 * person.size * self._unit))
        cv2.polylines(mask, [outline], True, 255, thickness)
        self._fill(mask > 0, shirt, person.nearness, named=True)

    def _fill(
        self, mask: NDArray[np.bool_], colour: Colour, nearness: float, *, named: bool
    ) -> None:
        self._picture[mask] = lit(colour, nearness)
        self._depth[mask] = nearness
        self.named[mask] = 255 if named else 0

    def _place(self, x: float, y: float) -> tuple[int, int]:
        return (
            round(self._width / 2 + float(x) * self._unit),
            round(self._height / 2 + float(y) * self._unit),
        )

    def _places(
        self, outline: NDArray[np.float64], x: float, y: float, turn: float
    ) -> NDArray[np.int32]:
        angle = radians(turn)
        rotation = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
        turned = outline @ rotation.T + (x, y)
        return np.array([self._place(*point) for point in turned], np.int32)

    def _finished(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        middle = np.array([self._width / 2, self._height / 2], np.float32)
        return ((points * self._unit + middle) / _OVERSAMPLING).astype(np.float32)

    def painted(self, joints: list[NDArray[np.float32]]) -> Painted:
        def down(image: NDArray[np.generic]) -> NDArray[np.generic]:
            smaller: NDArray[np.generic] = cv2.resize(
                image, self._size, interpolation=cv2.INTER_AREA
            )
            return smaller

        return Painted(
            picture=down(self._picture).astype(np.uint8),
            depth=down(self._depth).astype(np.float32),
            joints=np.array(joints, np.float32).reshape(-1, len(JOINTS), 2),
            named=down(self.named).astype(np.uint8) > 250,
        )


def outlines_of(kind: str) -> list[tuple[NDArray[np.float64], bool]]:
    """The polygons of a flat shape of radius 1, each filled or cut out, in the order to paint."""

    def polygon(
        corners: int, start: float = -pi / 2, radii: tuple[float, ...] = (1.0,)
    ) -> NDArray[np.float64]:
        angles = [start + 2 * pi * index / corners for index in range(corners)]
        return np.array(
            [
                (radii[index % len(radii)] * cos(angle), radii[index % len(radii)] * sin(angle))
                for index, angle in enumerate(angles)
            ]
        )

    if kind == "cross":
        a, b = 0.33, 1.0
        bar = np.array([(-a, -b), (a, -b), (a, b), (-a, b)])
        return [(bar, True), (bar[:, ::-1].copy(), True)]
    if kind == "ring":
        return [(polygon(48), True), (polygon(48) * 0.55, False)]
    outline = {
        "circle": lambda: polygon(48),
        "square": lambda: polygon(4, start=-pi / 4) * 1.15,
        "triangle": lambda: polygon(3) * 1.15,
        "star": lambda: polygon(10, radii=(1.15, 0.5)),
        "diamond": lambda: polygon(4) * (0.7, 1.15),
    }[kind]()
    return [(outline, True)]

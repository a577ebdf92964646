"""Random scenes of the demo's world as data: things with position, nearness, colour; a prompt.

Drawn from a seed. Knows no pixels (painting.py paints them).

Coordinates are shares of the picture's shorter side, (0, 0) in the middle of the picture; nearness
is 0 at the horizon and 1 at the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tools.demotraining.colours import BACKGROUND_COLOURS, OBJECT_COLOURS, SKIN, Colour
from tools.demotraining.people import Stance, draw_stance

SHAPE_KINDS = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "ball")

_PALE = ("light blue", "beige", "light green")


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


@dataclass(frozen=True, slots=True)
class Background:
    """A plain wall at the horizon, or one that comes nearer (and brighter) towards `angle`."""

    colour: str
    gradient: bool
    angle: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A flat figure, or a ball; `size` is its radius, `turn` in degrees."""

    kind: str
    colour: str
    x: float
    y: float
    size: float
    turn: float
    nearness: float

    @property
    def words(self) -> str:
        return f"{article(self.colour)} {self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class Person:
    """x and y are those of the hips; `size` is the height."""

    shirt: str
    trousers: str
    skin: Colour
    x: float
    y: float
    size: float
    stance: Stance
    nearness: float

    @property
    def words(self) -> str:
        shirt = f"{article(self.shirt)} {self.shirt} shirt"
        return f"a person in {shirt} and {self.trousers} trousers"


Thing = Shape | Person


@dataclass(frozen=True, slots=True)
class Scene:
    """things: from the farthest to the nearest."""

    background: Background
    things: tuple[Thing, ...]

    @property
    def named(self) -> Thing:
        """The nearest thing, which the prompt names first."""
        return self.things[-1]

    @property
    def named_colour(self) -> str:
        """The colour of `named`: of a person, the shirt's."""
        return self.named.shirt if isinstance(self.named, Person) else self.named.colour

    @property
    def prompt(self) -> str:
        ground = "gradient" if self.background.gradient else "background"
        things = [thing.words for thing in reversed(self.things)]
        listed = " in front of ".join(things)
        return f"{listed} on a {self.background.colour} {ground}"


def draw_scene(rng: Random, person: bool | None = None) -> Scene:
    """A scene at random; with a person or without as asked, else in three of ten."""
    background = Background(
        colour=rng.choice(list(BACKGROUND_COLOURS)),
        gradient=rng.random() < 0.5,
        angle=rng.uniform(0, 360),
    )
    colours = [name for name in OBJECT_COLOURS if not _fades(name, background.colour)]
    rng.shuffle(colours)
    if person if person is not None else rng.random() < 0.3:
        behind = [_draw_shape(rng, colours.pop(), rng.uniform(0.1, 0.5), 0.35)]
        things: list[Thing] = [*(behind if rng.random() < 0.35 else []), _draw_person(rng, colours)]
    else:
        count = rng.choice((1, 2, 2, 3))
        # Well apart, so that brightness shows the order.
        depths = [0.15 + 0.85 * (index + rng.uniform(0.15, 0.85)) / count for index in range(count)]
        things = [_draw_shape(rng, colours.pop(), depth, 0.30) for depth in depths]
    return Scene(background, tuple(things))


def _fades(colour: str, background: str) -> bool:
    """Whether a thing is indistinguishable from the wall behind it."""
    return (colour == "white" and background in _PALE) or (
        colour in ("green", "blue") and background == f"dark {colour}"
    )


def _draw_shape(rng: Random, colour: str, nearness: float, reach: float) -> Shape:
    return Shape(
        kind=rng.choice(SHAPE_KINDS),
        colour=colour,
        x=rng.uniform(-reach, reach),
        y=rng.uniform(-reach, reach),
        size=(0.13 + 0.12 * nearness) * rng.uniform(0.85, 1.15),
        turn=rng.uniform(-30, 30),
        nearness=nearness,
    )


def _draw_person(rng: Random, colours: list[str]) -> Person:
    size = rng.uniform(0.66, 0.84)
    return Person(
        shirt=colours.pop(),
        trousers=colours.pop(),
        skin=rng.choice(SKIN),
        x=rng.uniform(-0.14, 0.14),
        y=rng.uniform(-0.03, 0.06),
        size=size,
        stance=draw_stance(rng),
        nearness=rng.uniform(0.65, 1.0),
    )

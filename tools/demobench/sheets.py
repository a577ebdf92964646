"""Draws the pictures of the docs: sheets of control types, pairs of them, guidance, large sizes and
a photograph with its outputs.

Owns their layout. Knows no metric.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from models.checkpoints import LoadedCheckpoint
from models.pipeline import generate
from models.spec import GenerationSpec
from tools.demobench.measuring import DEFAULTS, PAIR_STRENGTH
from tools.demobench.obedience import (
    CONTROLS,
    PAIRS,
    STEPS,
    STRENGTHS,
    Case,
    held_out,
    make,
    make_together,
)
from tools.demotraining.painting import Pixels, paint

_SHOWN_FROM = 100
"""Held-out scenes beyond those that are measured."""

_GAP = 4
_GUIDANCES = (1.0, 3.5, 8.0, 15.0)
_LARGE = (("canny", (1024, 1024)), ("pose", (1024, 1024)), ("tile", (1024, 768)))
_PHOTOGRAPH = ("tile", "canny")
_PHOTOGRAPH_PROMPT = "a photo of an astronaut"


def draw_sheets(loaded: LoadedCheckpoint, folder: Path, photograph: Image.Image | None) -> None:
    """Every sheet, as demo-*.jpg below `folder`."""
    save(_controls(loaded), folder / "demo-sheet.jpg")
    save(_pairs(loaded), folder / "demo-pairs.jpg")
    save(_guidances(loaded), folder / "demo-guidance.jpg")
    save(_large(loaded), folder / "demo-large.jpg")
    if photograph is not None:
        save(_photograph(loaded, photograph), folder / "demo-photo.jpg")


def shown_case(name: str, index: int = 0) -> Case:
    """A case of a control type, or of several, beyond those that are measured."""
    return list(held_out(name, _SHOWN_FROM + index + 1))[-1]


def _controls(loaded: LoadedCheckpoint) -> list[list[Pixels]]:
    """Rows: input, control map, outputs at the four strengths. Columns: the control types."""
    columns = []
    for control in CONTROLS:
        case = shown_case(control)
        made = [make(loaded, control, case, strength) for strength in STRENGTHS]
        shown = [case.painted.picture, made[-1].control_map, *(one.picture for one in made)]
        titles = [control, "control", *(f"strength {strength:g}" for strength in STRENGTHS)]
        columns.append(titled(shown, titles))
    return columns


def _pairs(loaded: LoadedCheckpoint) -> list[list[Pixels]]:
    """Rows: input, both control maps, the output of each and of both. Three columns a pair."""
    columns = []
    for pair in PAIRS:
        for index in range(3):
            case = shown_case("+".join(pair), index)
            alone = [make(loaded, control, case, PAIR_STRENGTH) for control in pair]
            both, _ = make_together(loaded, pair, case, PAIR_STRENGTH)
            shown = [
                case.painted.picture,
                *(one.control_map for one in alone),
                *(one.picture for one in alone),
                both.picture,
            ]
            only = [f"{control} alone" for control in pair]
            columns.append(titled(shown, ["input", *pair, *only, "both"]))
    return columns


def _guidances(loaded: LoadedCheckpoint) -> list[list[Pixels]]:
    """Rows: values of guidance. Columns: the four first control types at the pairs' strength."""
    columns = []
    for control in CONTROLS[:4]:
        case = shown_case(control, 1)
        made = [
            make(loaded, control, case, PAIR_STRENGTH, guidance=guidance).picture
            for guidance in _GUIDANCES
        ]
        columns.append(titled(made, [f"{control}, guidance {value:g}" for value in _GUIDANCES]))
    return columns


def _large(loaded: LoadedCheckpoint) -> list[list[Pixels]]:
    """A column each, at half its size: control map and output, side by side where wide."""
    columns = []
    for control, size in _LARGE:
        drawn = shown_case(control)
        case = Case(drawn.scene, paint(drawn.scene, size), drawn.seed)
        made = make(loaded, control, case, PAIR_STRENGTH)
        halved = [
            cv2.resize(one, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
            for one in (made.control_map, made.picture)
        ]
        padded = [np.pad(one, ((0, 512 - len(one)), (0, 0), (0, 0))) for one in halved]
        columns.append(titled(padded, [control, f"{size[0]}x{size[1]}"]))
    return columns


def _photograph(
    loaded: LoadedCheckpoint, photograph: Image.Image, side: int = 512
) -> list[list[Pixels]]:
    """Columns: the photograph and canny's map of it, and for each type the output at the defaults
    and at strength 1 without a stop."""
    picture = photograph.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    columns, maps = [], []
    for control in _PHOTOGRAPH:
        made = []
        for strength, stop in (DEFAULTS, (1.0, 1.0)):
            spec = GenerationSpec(
                prompt=_PHOTOGRAPH_PROMPT,
                control=control,
                width=side,
                height=side,
                strength=strength,
                stop=stop,
                steps=STEPS,
                seed=1,
            )
            done = generate(loaded, spec, picture, lambda _step, _steps: None)
            made.append(done.pictures[0])
        maps.append(np.asarray(done.control_map))
        columns.append(titled(made, [f"{control}, defaults", f"{control}, strength 1"]))
    return [titled(maps, ["photograph", "canny"]), *columns]


def titled(pictures: list[Pixels], titles: list[str]) -> list[Pixels]:
    """The pictures, each with its title in the upper left corner."""
    return [_titled(*pair) for pair in zip(pictures, titles, strict=True)]


def _titled(picture: Pixels, title: str) -> Pixels:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, _), _ = cv2.getTextSize(title, font, scale, 1)
    titled = picture.copy()
    titled[:22, : width + 12] = 0
    cv2.putText(titled, title, (6, 16), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return titled


def save(columns: list[list[Pixels]], path: Path) -> None:
    """One JPEG of columns of pictures, which are as tall and as wide as their neighbours."""

    def framed(picture: Pixels) -> Pixels:
        padded: Pixels = np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
        return padded

    drawn = np.hstack([np.vstack([framed(picture) for picture in column]) for column in columns])
    Image.fromarray(drawn).save(path, quality=88, optimize=True)

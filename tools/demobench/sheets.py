"""Draws the contact sheet of the four control types, and a photograph with its outputs.

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
from tools.demobench.obedience import CONTROLS, STEPS, STRENGTHS, held_out, make
from tools.demotraining.painting import Pixels

_SHOWN_FROM = 100
"""Held-out scenes beyond those that are measured."""

_GAP = 4
PHOTOGRAPH = {
    "tile": ("a photo", 1.0),
    "canny": ("a person in an orange shirt and white trousers on a black background", 1.3),
}
"""Control type -> prompt and strength."""


def contact_sheet(loaded: LoadedCheckpoint, path: Path, scenes: int = 2) -> None:
    """Rows: input, control map, outputs at the four strengths. Columns: `scenes` of each type."""
    columns = []
    for control in CONTROLS:
        cases = list(held_out(control, _SHOWN_FROM + scenes))[_SHOWN_FROM:]
        for case in cases:
            made = [make(loaded, control, case, strength) for strength in STRENGTHS]
            shown = [case.painted.picture, made[-1].control_map, *(one.picture for one in made)]
            titles = [control, "control", *(f"strength {strength:g}" for strength in STRENGTHS)]
            columns.append([_titled(*pair) for pair in zip(shown, titles, strict=True)])
    _save(columns, path)


def photograph_sheet(
    loaded: LoadedCheckpoint, photograph: Image.Image, path: Path, side: int = 512
) -> None:
    """The photograph, and for tile and canny its control map and the output."""
    picture = photograph.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    columns = [[_titled(np.asarray(picture), "photograph")]]
    for control, (prompt, strength) in PHOTOGRAPH.items():
        spec = GenerationSpec(
            prompt=prompt,
            control=control,
            width=side,
            height=side,
            strength=strength,
            stop=1.0,
            steps=STEPS,
            seed=1,
        )
        done = generate(loaded, spec, picture, lambda _step, _steps: None)
        if control == "canny":
            columns.append([_titled(np.asarray(done.control_map), control)])
        columns.append([_titled(done.pictures[0], f"{control}, output")])
    _save(columns, path)


def _titled(picture: Pixels, title: str) -> Pixels:
    titled = picture.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            titled, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA
        )
    return titled


def _save(columns: list[list[Pixels]], path: Path) -> None:
    def framed(picture: Pixels) -> Pixels:
        padded: Pixels = np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
        return padded

    drawn = np.hstack([np.vstack([framed(picture) for picture in column]) for column in columns])
    Image.fromarray(drawn).save(path, quality=88, optimize=True)

"""The demo obeys: a fast subset of `scripts/bench demo`, whose full figures are in
docs/demo-model.md. The pictures are the same on every run of a machine; the limits leave room for
the few scenes and for another CPU's rounding.
"""

from __future__ import annotations

import pytest
import torch

from models.checkpoints import CHECKPOINTS, load
from tools.demobench.measuring import COLOUR_STRENGTH, FULL_STRENGTH, Row, measure
from tools.demobench.obedience import CONTROLS

SCENES = 3

LEAST = {"canny": 0.55, "depth": 0.6, "pose": 0.6, "tile": 20.0}
"""Of the metric at strength 1."""

LEAST_COLOUR = 0.8
"""How often the named thing has its colour at strength 0.6, over all control types."""

OVER_CHANCE = {"canny": 0.4, "depth": 0.3, "pose": 0.3, "tile": 8.0}
"""How far strength 1 is above strength 0, and above what another scene's control would get."""


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    demo = load(CHECKPOINTS["demo"], torch.device("cpu"))
    strengths = (0.0, COLOUR_STRENGTH, FULL_STRENGTH)
    return {control: measure(demo, control, SCENES, strengths) for control in CONTROLS}


@pytest.mark.parametrize("control", CONTROLS)
def test_full_strength_obeys(rows: dict[str, Row], control: str) -> None:
    assert rows[control]["strength 1"] >= LEAST[control]


@pytest.mark.parametrize("control", CONTROLS)
def test_strength_is_what_makes_it_obey(rows: dict[str, Row], control: str) -> None:
    row = rows[control]
    assert row["strength 0"] < row["strength 0.6"]
    assert row["strength 1"] > row["strength 0"] + OVER_CHANCE[control]
    assert row["strength 1"] > row["chance"] + OVER_CHANCE[control]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_stops_early_is_obeyed_less(rows: dict[str, Row], control: str) -> None:
    assert rows[control]["stop 0.2"] < rows[control]["strength 1"]


def test_things_have_the_colours_of_their_names(rows: dict[str, Row]) -> None:
    assert sum(row["colour"] for row in rows.values()) / len(rows) >= LEAST_COLOUR

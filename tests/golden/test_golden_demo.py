"""The demo follows its input: a fast subset of `scripts/bench demo`, whose full figures are in
docs/demo-model.md. The pictures are the same on every run of a machine; the limits leave room for
the few scenes and for another CPU's rounding.
"""

from __future__ import annotations

import torch

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from tools.demobench.measuring import (
    COLOUR_STRENGTH,
    FULL_STRENGTH,
    Row,
    measure,
    measure_pair,
)
from tools.demobench.obedience import PAIRS, held_out, judge, make

SCENES = 3

LEAST = {"canny": 0.55, "depth": 0.6, "pose": 0.6, "tile": 20.0}
"""Of the metric at strength 1."""

LEAST_OF_MAP = {"blur": 20.0, "gray": 18.0, "lq": 20.0}
"""Of the PSNR between the map of the output and the control map, at strength 1."""

LEAST_TOGETHER = 0.8
"""Share of its value alone that each metric reaches with two controls."""

LEAST_COLOUR = 0.8
"""How often the named thing has its colour at strength 0.6, over all control types."""

OVER_CHANCE = {"canny": 0.4, "depth": 0.3, "pose": 0.3, "tile": 8.0}
"""How far strength 1 is above strength 0, and above what another scene's control would get."""


def faults(control: str, row: Row) -> list[str]:
    """Where a control is not obeyed: at strength 1 it must be well, and better than at 0, than by
    chance, and than with a window cut short."""
    full = row["strength 1"]
    reached = {
        "strength 1": full >= LEAST[control],
        "strength 0.6 over 0": row["strength 0.6"] > row["strength 0"],
        "strength 1 over 0": full > row["strength 0"] + OVER_CHANCE[control],
        "over chance": full > row["chance"] + OVER_CHANCE[control],
        "over a window cut short": full > row["stop 0.2"],
    }
    return [f"{control}: {name}: {row}" for name, good in reached.items() if not good]


def map_faults(demo: LoadedCheckpoint) -> list[str]:
    """Where an output does not have the map that it was made from."""
    found = []
    for control, least in LEAST_OF_MAP.items():
        (case,) = held_out(control, 1)
        result = make(demo, control, case, FULL_STRENGTH)
        reached = judge(demo, control)(result, result)
        found += [f"{control}: {reached}"] if reached < least else []
    return found


def pair_faults(demo: LoadedCheckpoint) -> list[str]:
    """Where a control loses too much to another one."""
    found = []
    for pair in PAIRS:
        row = measure_pair(demo, pair, 1)
        found += [
            f"{pair}: {row}"
            for control in pair
            if row[f"{control} together"] < LEAST_TOGETHER * row[f"{control} alone"]
        ]
    return found


def test_pictures_obey_their_controls_and_have_the_colours_of_their_prompts() -> None:
    """One test: the demo is loaded, and each picture made, once."""
    demo = load(CHECKPOINTS["demo"], torch.device("cpu"))
    strengths = (0.0, COLOUR_STRENGTH, FULL_STRENGTH)
    rows = {control: measure(demo, control, SCENES, strengths, defaults=False) for control in LEAST}
    assert [fault for control, row in rows.items() for fault in faults(control, row)] == []
    assert map_faults(demo) + pair_faults(demo) == []
    assert sum(row["colour"] for row in rows.values()) / len(rows) >= LEAST_COLOUR

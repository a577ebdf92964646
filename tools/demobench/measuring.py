"""Computes one row of figures for a control type, as means over held-out scenes.

The columns are the strengths, chance level, a short control window, and the rate of correct named
colours. Owns the comparisons. Knows neither files nor a command line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from models.checkpoints import LoadedCheckpoint
from tools.demobench.obedience import STRENGTHS, Result, held_out, judge, make, named_colour

EARLY_STOP = 0.2
COLOUR_STRENGTH = 0.6
FULL_STRENGTH = 1.0

Row = dict[str, float]


def measure(
    loaded: LoadedCheckpoint,
    control: str,
    scenes: int,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Row:
    """Means over the first `scenes` held-out scenes of a control type. `strengths` holds 0.6 and 1.

    chance: the outputs at strength 1, each judged against the control of another scene.
    """
    cases = list(held_out(control, scenes))
    obeys = judge(loaded, control)

    def all_made(strength: float, stop: float = 1.0) -> list[Result]:
        bar = tqdm(cases, desc=f"{control} {strength} {stop}", disable=None)
        return [make(loaded, control, case, strength, stop) for case in bar]

    def mean(
        results: list[Result], score: Callable[[Result, Result], float], shift: int = 0
    ) -> float:
        wanted = results[shift:] + results[:shift]
        return float(np.mean([score(*pair) for pair in zip(results, wanted, strict=True)]))

    row = {}
    for strength in strengths:
        results = all_made(strength)
        row[f"strength {strength:g}"] = mean(results, obeys)
        if strength == COLOUR_STRENGTH:
            row["colour"] = float(np.mean([named_colour(one) for one in results]))
        if strength == FULL_STRENGTH:
            row["chance"] = mean(results, obeys, shift=1)
    row[f"stop {EARLY_STOP:g}"] = mean(all_made(FULL_STRENGTH, EARLY_STOP), obeys)
    return row

"""Computes one row of figures for a control type or for two at once, as means over held-out scenes.

The columns of a type are the strengths, chance level, a short control window, the API's defaults,
and the rate of correct named colours. Owns the comparisons. Knows neither files nor a command line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from models.checkpoints import LoadedCheckpoint
from tools.demobench.obedience import (
    STRENGTHS,
    Result,
    held_out,
    judge,
    make,
    make_together,
    named_colour,
)

EARLY_STOP = 0.2
COLOUR_STRENGTH = 0.6
FULL_STRENGTH = 1.0
DEFAULTS = 0.45, 0.5
"""cn_strength and cn_stop of a request that has neither."""

PAIR_STRENGTH = 0.8

Row = dict[str, float]


def measure(
    loaded: LoadedCheckpoint,
    control: str,
    scenes: int,
    strengths: tuple[float, ...] = STRENGTHS,
    defaults: bool = True,
) -> Row:
    """Means over the first `scenes` held-out scenes of a control type. `strengths` holds 0.6 and 1.

    defaults: also at the API's defaults.
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
    if defaults:
        row["defaults"] = mean(all_made(*DEFAULTS), obeys)
    return row


def measure_pair(loaded: LoadedCheckpoint, pair: tuple[str, str], scenes: int) -> Row:
    """Each metric of two controls at strength 0.8, alone and together."""
    row: Row = {}
    cases = list(held_out("+".join(pair), scenes))
    together = [
        make_together(loaded, pair, case, PAIR_STRENGTH) for case in tqdm(cases, disable=None)
    ]
    for index, control in enumerate(pair):
        obeys = judge(loaded, control)
        alone = [make(loaded, control, case, PAIR_STRENGTH) for case in tqdm(cases, disable=None)]
        row[f"{control} alone"] = float(np.mean([obeys(one, one) for one in alone]))
        both = [results[index] for results in together]
        row[f"{control} together"] = float(np.mean([obeys(one, one) for one in both]))
    return row

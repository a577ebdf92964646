"""Measures how well the demo obeys, on held-out scenes: the tables of docs/demo-model.md.

Usage: bench_demo.py [--scenes 64] [--controls canny depth ...] [--weights FOLDER] [--json FILE]
For each control type: its metric at strengths 0, 0.3, 0.6 and 1 with cn_stop 1, at strength 1 with
cn_stop 0.2, and by chance (strength 1, judged against another scene's control); and how often the
named colour is right at strength 0.6. 64 scenes a type take about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.checkpoints.demo import checkpoint_in
from scripts.demobench.obedience import (
    CONTROLS,
    STRENGTHS,
    Made,
    held_out,
    judge,
    make,
    named_colour,
)

EARLY_STOP = 0.2
COLOUR_STRENGTH = 0.6

Row = dict[str, float]


def measure(loaded: LoadedCheckpoint, control: str, scenes: int) -> Row:
    """Means over the held-out scenes of one control type."""
    cases = list(held_out(control, scenes))
    obeys = judge(loaded, control)

    def all_made(strength: float, stop: float = 1.0) -> list[Made]:
        bar = tqdm(cases, desc=f"{control} {strength} {stop}", disable=None)
        return [make(loaded, control, case, strength, stop) for case in bar]

    def mean(made: list[Made], score: Callable[[Made, Made], float], shift: int = 0) -> float:
        wanted = made[shift:] + made[:shift]
        return float(np.mean([score(*pair) for pair in zip(made, wanted, strict=True)]))

    row = {}
    for strength in STRENGTHS:
        made = all_made(strength)
        row[f"strength {strength}"] = mean(made, obeys)
        if strength == COLOUR_STRENGTH:
            row["colour"] = float(np.mean([named_colour(one) for one in made]))
        if strength == STRENGTHS[-1]:
            row["chance"] = mean(made, obeys, shift=1)
    row[f"stop {EARLY_STOP}"] = mean(all_made(STRENGTHS[-1], EARLY_STOP), obeys)
    return row


def table(rows: dict[str, Row]) -> str:
    """The rows as Markdown."""
    names = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for control, row in rows.items():
        lines.append(f"| {control} | {' | '.join(f'{row[name]:.2f}' for name in names)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=64, help="held-out scenes a type")
    parser.add_argument("--controls", nargs="+", choices=CONTROLS, default=CONTROLS)
    parser.add_argument("--weights", type=Path, help="instead of those in the repository")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    checkpoint = checkpoint_in(options.weights) if options.weights else CHECKPOINTS["demo"]
    loaded = load(checkpoint, torch.device("cpu"))
    rows = {control: measure(loaded, control, options.scenes) for control in options.controls}
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

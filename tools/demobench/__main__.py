"""Measures how well the demo model follows its input, on held-out scenes (docs/demo-model.md).

Usage: scripts/bench demo [--scenes 64] [--controls canny depth ...] [--weights FOLDER]
           [--no-pairs] [--json FILE]
       scripts/bench demo --sheets FOLDER [--photograph FILE] [--weights FOLDER]
       scripts/bench demo --lora FILE [--scenes 64] [--controls canny depth ...] [--json FILE]
       scripts/bench demo --lora FILE --sheets FOLDER
For each control type: its metric at strengths 0, 0.3, 0.6 and 1 with cn_stop 1, at strength 1 with
cn_stop 0.2, at the API's defaults, and by chance (strength 1, judged against another scene's
control); and how often the named colour is right at strength 0.6. For each pair of types: both
metrics alone and together. 64 scenes a type take about an hour on two cores. With --sheets no
numbers, but the pictures of the docs. With --lora, the metric of the style of the demo's LoRA and
each type's own metric at scales -1, 0, 0.5 and 1, or the sheet of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image

from models.checkpoints import CHECKPOINTS, load
from models.checkpoints.demo import checkpoint_in
from tools.demobench.measuring import Row, measure, measure_pair
from tools.demobench.obedience import CONTROLS, PAIRS
from tools.demobench.sheets import draw_sheets
from tools.demobench.styles import demo_with, draw_style, measure_style


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
    parser.add_argument("--controls", nargs="*", choices=CONTROLS, default=CONTROLS)
    parser.add_argument("--no-pairs", action="store_true", help="measure no two controls at once")
    parser.add_argument("--weights", type=Path, help="instead of those in the repository")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheets", type=Path, help="a folder for demo-*.jpg")
    parser.add_argument("--lora", type=Path, help="a LoRA of scripts/train_demo_lora")
    parser.add_argument("--photograph", type=Path, help="for demo-photo.jpg")
    options = parser.parse_args()
    rows: dict[str, Row] = {}

    def add(name: str, row: Row) -> None:
        rows[name] = row
        print(table({name: row}), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")

    if options.lora is not None:
        demo, file = demo_with(options.lora)
        if options.sheets is not None:
            draw_style(demo, file, options.sheets / "demo-lora.jpg")
            return
        for control in options.controls:
            add(control, measure_style(demo, file, control, options.scenes))
        return
    checkpoint = checkpoint_in(options.weights) if options.weights else CHECKPOINTS["demo"]
    loaded = load(checkpoint, torch.device("cpu"))
    if options.sheets is not None:
        photograph = Image.open(options.photograph) if options.photograph else None
        draw_sheets(loaded, options.sheets, photograph)
        return
    for control in options.controls:
        add(control, measure(loaded, control, options.scenes))
    for pair in () if options.no_pairs else PAIRS:
        add(" and ".join(pair), measure_pair(loaded, pair, options.scenes))


if __name__ == "__main__":
    main()

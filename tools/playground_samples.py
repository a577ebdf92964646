"""Makes the playground's sample pictures and their list, app/playground/samples.

Usage: PYTHONPATH=. .venv/bin/python -m tools.playground_samples [--folder FOLDER]
The scenes are those of the demo's training (tools/demotraining), chosen by their seeds; the prompts
repaint them in other colours. The same code and library versions write the same bytes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from tools.demotraining.painting import paint
from tools.demotraining.scenes import draw_scene

_FOLDER = Path(__file__).resolve().parents[1] / "app" / "playground" / "samples"
_SIDE = 320


@dataclass(frozen=True, slots=True)
class _Sample:
    """index: of the scene's seed. person: whether it is a scene with a person."""

    name: str
    title: str
    index: int
    person: bool
    cn_type: str
    cn_strength: float
    prompt: str


_SAMPLES = (
    _Sample(
        *("pose-wave", "Waving", 1, True, "pose", 1.0),
        "a person in a red shirt and white trousers on a dark blue gradient",
    ),
    _Sample(
        *("pose-stride", "Striding", 13, True, "pose", 1.0),
        "a person in a green shirt and yellow trousers on a beige background",
    ),
    _Sample(
        *("depth-triangle", "Triangle in front", 5, False, "depth", 1.0),
        "an orange triangle in front of a red ring on a dark green gradient",
    ),
    _Sample(
        *("depth-ring", "Ring in front", 36, False, "depth", 1.0),
        "a cyan ring in front of a cyan diamond on a black background",
    ),
    _Sample(
        *("shapes-star", "Star", 87, False, "canny", 1.0),
        "a yellow star on a dark green gradient",
    ),
    _Sample(
        *("shapes-ball", "Ball and circle", 13, False, "canny", 1.0),
        "a blue ball in front of a blue circle on a beige gradient",
    ),
)


def write_samples(folder: Path) -> None:
    """The pictures as WebP, and samples.json with the parameters that fit each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in _SAMPLES:
        scene = draw_scene(Random(f"sample {sample.index}"), sample.person)
        picture = Image.fromarray(paint(scene, (_SIDE, _SIDE)).picture)
        picture.save(folder / f"{sample.name}.webp", quality=90, method=6)
    entries = [
        {
            "file": f"{sample.name}.webp",
            "title": sample.title,
            "values": {
                "prompt": sample.prompt,
                "cn_type": sample.cn_type,
                "cn_strength": sample.cn_strength,
                "cn_stop": 1,
            },
        }
        for sample in _SAMPLES
    ]
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (folder / "samples.json").write_text(f"[\n{lines}\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=_FOLDER)
    write_samples(parser.parse_args().folder)


if __name__ == "__main__":
    main()

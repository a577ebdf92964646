"""Measures time, memory and accuracy of one picture, against diffusers' FluxControlNetPipeline.

Usage: scripts/bench gpu [--part 1|2|3] [--device cuda|cpu] [--tiny] [--out FOLDER]
       scripts/bench gpu --chart FOLDER/gpu.json
FLUX.1-dev and Union-Pro in their real shapes with random weights, euler/simple, 20 steps. All
parts are run unless one is named; each is cut for nine minutes on an H200 and adds to gpu.json.
Needs torch, diffusers and transformers; matplotlib for the chart. `--device cpu --tiny` runs the
same code with tiny networks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.gpubench.chart import draw

ROOT = Path(__file__).resolve().parents[2]
PARTS = {1: {"eager": 480}, 2: {"compiled": 400, "restart": 400}, 3: {"shapes": 450}}
"""The stages of each part, and the seconds after which a stage begins nothing new, so that a
part should end within nine minutes on an H200."""


def main() -> int:
    parser = _parser()
    asked = parser.parse_args()
    if asked.chart:
        print(f"wrote {draw(asked.chart)}")
        return 0
    if asked.tiny and asked.out is None:
        parser.error("--tiny needs --out: its figures are not for docs/")
    if asked.device == "cpu" and not asked.tiny:
        parser.error("the CPU is for --tiny: the networks are 40 GB")
    file = (asked.out or ROOT / "docs" / "benchmarks") / "gpu.json"
    if asked.stage:
        return _run_stage(asked, file)
    if asked.device == "cpu":
        # Otherwise the bench would measure threads that spin for each other.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    whole = all([_run_part(part) for part in ([asked.part] if asked.part else PARTS)])
    if file.exists():
        try:
            print(f"wrote {file} and {draw(file)}")
        except ImportError:
            print(f"wrote {file}; no matplotlib here: draw it elsewhere with --chart {file}")
    return 0 if whole else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench gpu")
    parser.add_argument("--part", type=int, choices=PARTS)
    parser.add_argument("--stage", help="what a part's own processes are given")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, sides an eighth")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warm-ups", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of gpu.json and gpu.png")
    parser.add_argument("--chart", type=Path, metavar="JSON", help="only draw a file's chart")
    return parser


def _run_part(part: int) -> bool:
    """Run one process per stage; True if all succeeded. A part starts without compiled code and
    shares it with its later stages."""
    with tempfile.TemporaryDirectory() as compiled:
        kept = os.environ | {"TORCHINDUCTOR_CACHE_DIR": compiled}
        codes = [
            subprocess.run(
                [sys.executable, "-m", "tools.gpubench", *sys.argv[1:], "--stage", stage],
                cwd=ROOT,
                env=kept,
                check=False,
            ).returncode
            for stage in PARTS[part]
        ]
    return not any(codes)


def _run_stage(asked: argparse.Namespace, file: Path) -> int:
    # Only here: a part's own process would wait seconds for libraries that it does not use.
    from tools.gpubench.stand_ins import fill_in

    fill_in()
    import torch

    from tools.gpubench.results import Options
    from tools.gpubench.stages import run

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench gpu: torch sees no CUDA device; --device cpu --tiny needs none")
    options = Options(
        device=torch.device("cuda", 0) if asked.device == "cuda" else torch.device("cpu"),
        tiny=asked.tiny,
        steps=asked.steps,
        runs=asked.runs,
        warm_ups=asked.warm_ups,
        seconds=next(part[asked.stage] for part in PARTS.values() if asked.stage in part),
        file=file,
    )
    return 0 if run(asked.stage, options) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measures time, memory and accuracy of one picture, against diffusers' FluxControlNetPipeline.

Usage: scripts/bench gpu [--call 1|2|3] [--part NAME] [--only A,D] [--device cuda|cpu] [--tiny]
       [--out FOLDER] [--compiled FOLDER]
       scripts/bench gpu --collect FOLDER/gpu.json OTHER/gpu.json
FLUX.1-dev and Union-Pro in their real shapes with random weights, euler/simple, 20 steps. All
calls are run unless one is named; each ends within its time on an H200 and adds to gpu.json.
Needs torch, diffusers and transformers; matplotlib for the chart. `--device cpu --tiny` runs the
same code with tiny networks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tools.gpubench.calls import CALLS, PARTS, ROOT, Call, run_call
from tools.gpubench.configurations import CONFIGURATIONS
from tools.gpubench.report import file
from tools.gpubench.report.chart import draw
from tools.gpubench.report.targets import table


def main() -> int:
    parser = _parser()
    asked = parser.parse_args()
    results = (asked.out or ROOT / "docs" / "benchmarks").absolute() / "gpu.json"
    if asked.collect:
        file.collect(asked.collect, results)
        _report(results)
        return 0
    if asked.tiny and asked.out is None:
        parser.error("--tiny needs --out: its figures are not for docs/")
    if asked.device == "cpu" and not asked.tiny:
        parser.error("the CPU is for --tiny: the networks are 40 GB")
    if unknown := set(asked.only) - set(CONFIGURATIONS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    if asked.process:
        return _run_process(asked, results)
    if asked.device == "cpu":
        # Otherwise the bench would measure threads that spin for each other.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        compiled = (asked.compiled or Path(temporary)).absolute()
        done = [run_call(call, sys.argv[1:], results, compiled) for call in _calls(asked)]
    _report(results)
    return 0 if all(done) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench gpu")
    parser.add_argument("--call", type=int, choices=CALLS)
    parser.add_argument(
        "--part", choices=(*PARTS, *map(str, CALLS)), help="one part of a call, or all of call N"
    )
    parser.add_argument("--seconds", type=float, help="the time of --part")
    parser.add_argument(
        "--only",
        type=lambda names: names.split(","),
        default=(),
        metavar="A,D",
        help="configurations; default: all",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, sides an eighth")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm-ups", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder of gpu.json and gpu.png")
    parser.add_argument("--compiled", type=Path, help="folder that keeps the compiled code")
    parser.add_argument(
        "--collect", type=Path, nargs="+", metavar="JSON", help="results to add to those of --out"
    )
    parser.add_argument("--process", nargs=2, metavar=("PART", "END"), help=argparse.SUPPRESS)
    return parser


def _calls(asked: argparse.Namespace) -> list[Call]:
    if asked.part in PARTS:
        seconds = asked.seconds or PARTS[asked.part]
        return [Call(seconds, {asked.part: seconds})]
    call = asked.call or int(asked.part or 0)
    return [CALLS[call]] if call else list(CALLS.values())


def _report(results: Path) -> None:
    if not results.exists():
        return
    print(table(file.read(results)["targets"]))
    try:
        print(f"wrote {results} and {draw(results)}")
    except LookupError as error:
        print(f"wrote {results}; no chart: {error}")
    except ImportError:
        print(f"wrote {results}; no matplotlib here: --collect draws it elsewhere")


def _run_process(asked: argparse.Namespace, results: Path) -> int:
    # Only here: the process of a call would wait seconds for libraries that it does not use.
    from tools.gpubench.stand_ins import fill_in

    fill_in()
    import torch

    from tools.gpubench.options import Options
    from tools.gpubench.parts.run import run

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench gpu: torch sees no CUDA device; --device cpu --tiny needs none")
    part, end = asked.process
    options = Options(
        device=torch.device("cuda", 0) if asked.device == "cuda" else torch.device("cpu"),
        tiny=asked.tiny,
        steps=asked.steps,
        runs=asked.runs,
        warm_ups=asked.warm_ups,
        only=frozenset(asked.only),
        seconds=float(end) - time.time(),
        file=results,
    )
    return 0 if run(part, options) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Generates the GPU code of all block graphs and compiles it to cubins, without a card.

Usage: scripts/bench kernels [--arch 80,89,90,120] [--out FOLDER]
Inductor's code for the double and the single block of FLUX.1-dev in bfloat16 and in 8 bits, with
sizes as symbols, as the server compiles them. Prints a table and every kernel that does not
compile; the exit code is 1 if there is one. Takes about a minute and a half an architecture on one
core. `--out` keeps the generated code.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tools.gpubench.networks.shapes import FULL
from tools.kernelgen.cards import CARDS


def main() -> int:
    options = _parser().parse_args()
    unknown = set(options.arch) - CARDS.keys()
    if unknown:
        raise SystemExit(f"bench kernels: no card of sm_{min(unknown)} is known")
    # Imported here, because torch needs seconds to load that a wrong option should not cost.
    from tools.kernelgen.table import rows_of, table

    work = partial(rows_of, shape=FULL, out=options.out)
    # torch caches what it read of a card, so each architecture gets a process of its own.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        rows = [row for rows in processes.map(work, options.arch) for row in rows]
    print(table(rows))
    failures = [
        f"sm_{row.arch}, {row.name}, {name}: {message}"
        for row in rows
        for name, message in row.compiled.failures.items()
    ]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench kernels")
    parser.add_argument(
        "--arch",
        type=lambda text: [int(arch) for arch in text.split(",")],
        default=list(CARDS),
        help="comma-separated numbers, 90 for sm_90",
    )
    parser.add_argument("--out", type=Path, help="folder for the generated code")
    return parser


if __name__ == "__main__":
    sys.exit(main())

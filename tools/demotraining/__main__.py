"""Trains the demo checkpoint, from scratch or from earlier weights, and writes it.

Usage: train_demo.py --folder RUN [--from WEIGHTS] [--budget-minutes 180] [--seed 1] [--out WEIGHTS]
With --from, only the last stage runs: the refinement of the transformer and the ControlNet.
RUN holds the state (a stopped run resumes from it), a loss curve and a sheet of pictures for each
stage. Runs on CUDA if available, else on the CPU. Without --out only RUN is written.
docs/demo-model.md has the results.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Threads that wait for each other must not spin on the other's core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2

from models.checkpoints.loader import best_device
from tools.demotraining.export import export, trained_in
from tools.demotraining.stages import FULL, Run, refine, train_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the run's state lives")
    parser.add_argument("--from", dest="start", type=Path, help="weights to refine")
    parser.add_argument("--budget-minutes", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the checkpoint is written")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    run = Run(options.folder, options.seed, options.budget_minutes, best_device(), FULL)
    if options.start is None:
        trained = train_all(run)
    else:
        trained = refine(run, trained_in(options.start, run.device), share=1.0)
    if options.out is not None:
        export(trained, options.out)


if __name__ == "__main__":
    main()

"""Trains the demo checkpoint from scratch and writes it.

Usage: train_demo.py --folder RUN [--budget-minutes 120] [--seed 1] [--out WEIGHTS]
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
from tools.demotraining.export import export
from tools.demotraining.stages import FULL, Run, train_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the run's state lives")
    parser.add_argument("--budget-minutes", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the checkpoint is written")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    run = Run(options.folder, options.seed, options.budget_minutes, best_device(), FULL)
    trained = train_all(run)
    if options.out is not None:
        export(trained, options.out)


if __name__ == "__main__":
    main()

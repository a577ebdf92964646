"""Trains the demo's LoRA, writes its file, and prints its metric at scales 0, 0.5 and 1.

Usage: scripts/train_demo_lora [--steps 500] [--seed 1] [--threads 1] [--out FOLDER]
The same options give the same file on the same kind of processor. docs/demo-model.md has the
results.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Threads that wait for each other must not spin on the other's core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch

from models.checkpoints.demo import WEIGHTS
from models.loras.lora_folder import DEMO_LORAS
from tools.demobench.styles import demo_with, measure_style
from tools.demotraining.export import trained_in, write_sums
from tools.demotraining.lora.side_paths import write
from tools.demotraining.lora.style import NAME
from tools.demotraining.lora.training import Course, train_lora

_SHOWN_EVERY = 20
_SCALES = (0.0, 0.5, 1.0)
_MEASURED = ("canny", "tile")
_SCENES = 3

METADATA = {
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.architecture": "demo/lora",
    "modelspec.title": "Cyanotype",
    "modelspec.description": "All colours from dark to pale blue, for the demo checkpoint.",
    "modelspec.trigger_phrase": NAME,
    "modelspec.license": "Apache-2.0",
}
"""Of the file, in the words of ModelSpec."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=DEMO_LORAS, help="the folder of the file")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    losses: list[float] = []

    def show(step: int, loss: float) -> None:
        losses.append(loss)
        if step % _SHOWN_EVERY == 0:
            print(f"step {step}, loss {np.mean(losses[-_SHOWN_EVERY:]):.4f}", flush=True)

    course = Course(options.steps, options.seed)
    paths = train_lora(course, trained_in(WEIGHTS, torch.device("cpu")), show)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{NAME}.safetensors"
    write(paths, file, METADATA)
    write_sums(options.out)
    print(f"{file}: {file.stat().st_size} bytes", flush=True)
    demo, written = demo_with(file)
    for control in _MEASURED:
        row = measure_style(demo, written, control, _SCENES, _SCALES)
        print(control, ", ".join(f"{name}: {value:.2f}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()

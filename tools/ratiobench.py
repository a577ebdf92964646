"""Measures CPU seconds of one picture of the demo, against diffusers' FluxControlNetPipeline.

Usage: scripts/bench ratio [--pairs N] [--side PIXELS] [--json FILE]
The same weights, prompt, control map, noise, sigmas and steps with the ControlNet on both sides;
20 steps of euler/simple at 512x512 on one thread. Pictures are made in turn, each pair with a
prompt of its own, so that no cache helps. CPU seconds hardly depend on what else runs here. Takes
about two minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.denoiser import pack
from models.pipeline import generate
from models.sampling import control_active, initial_noise, sigmas_for
from models.spec import GenerationSpec
from worker.library_logging import silence_libraries

STEPS = 20
STOPS = (0.5, 1.0)

Make = Callable[[GenerationSpec, Image.Image], np.ndarray[Any, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench ratio")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    silence_libraries()
    torch.set_num_threads(1)
    loaded = load(CHECKPOINTS["demo"], torch.device("cpu"))
    rows = [measure(loaded, stop, arguments.side, arguments.pairs) for stop in STOPS]
    for row in rows:
        print(
            f"cn_stop {row['stop']}: {row['ours']:.2f} s here, {row['shipped']:.2f} s shipped, "
            f"ratio {row['ratio']:.2f}, largest difference {row['levels']} of 255 levels"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(loaded: LoadedCheckpoint, stop: float, side: int, pairs: int) -> dict[str, float]:
    """Median CPU seconds of either side, their median ratio by pair, and the largest difference of
    two pictures in levels."""
    drawn = np.random.default_rng(0).random((side, side)) < 0.06
    control_map = Image.fromarray(drawn.astype(np.uint8) * 255).convert("RGB")
    spec = GenerationSpec(
        prompt="", control="tile", width=side, height=side, steps=STEPS, stop=stop, seed=7
    )
    made: list[tuple[float, float, int]] = []
    for index in range(pairs + 1):
        one = replace(spec, prompt=f"a red circle {index}")
        theirs, shipped_s = _timed(_shipped(loaded), one, control_map)
        ours, ours_s = _timed(_ours(loaded), one, control_map)
        made.append((ours_s, shipped_s, int(np.abs(ours.astype(int) - theirs).max())))
    made = made[1:]  # the first pair also warms up
    return {
        "stop": stop,
        "ours": median(pair[0] for pair in made),
        "shipped": median(pair[1] for pair in made),
        "ratio": median(pair[1] / pair[0] for pair in made),
        "levels": max(pair[2] for pair in made),
    }


def _timed(
    make: Make, spec: GenerationSpec, control_map: Image.Image
) -> tuple[np.ndarray[Any, Any], float]:
    started = time.process_time()
    picture = make(spec, control_map)
    return picture, time.process_time() - started


def _ours(loaded: LoadedCheckpoint) -> Make:
    return lambda spec, control_map: generate(
        loaded, spec, control_map, lambda _step, _steps: None
    ).pictures[0]


def _shipped(loaded: LoadedCheckpoint) -> Make:
    pipe = loaded.pipe
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False, shift=1.0)

    def make(spec: GenerationSpec, control_map: Image.Image) -> np.ndarray[Any, Any]:
        sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)[:-1].tolist()
        controlled = sum(control_active(sigma, spec.stop, spec.mu) for sigma in sigmas)
        channels = loaded.autoencoder.channels
        noise = initial_noise(spec.seed, (1, channels, spec.height // 8, spec.width // 8))
        picture = pipe(
            spec.prompt,
            width=spec.width,
            height=spec.height,
            sigmas=sigmas,
            num_inference_steps=spec.steps,
            guidance_scale=spec.guidance,
            control_image=control_map,
            control_mode=loaded.checkpoint.modes[spec.control],
            controlnet_conditioning_scale=spec.strength,
            control_guidance_end=controlled / spec.steps,
            latents=pack(noise),
            max_sequence_length=loaded.checkpoint.text_tokens,
        ).images[0]
        return np.asarray(picture)

    return make


if __name__ == "__main__":
    main()

"""The gpu worker of `scripts/chaos`: the real process around a stub of the model.

Usage: python -m tools.chaos.stub_worker SECONDS
A picture takes SECONDS and no CPU. Its pixels all have the colour that its seed is as a number, and
the seed has gone through the real tape, so what was kept of a dead worker's picture is seen in it.
At SIGUSR1 the clock that leases are written by jumps ahead, at SIGUSR2 back.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import rq.executions
import rq.registry
import torch
from PIL import Image

import worker.generate
from models.denoiser import ControlledDenoiser
from models.evaluation_log import EvaluationLog, Made, Memory
from models.pipeline import Generation, OnStep
from models.spec import GenerationSpec, image_seed
from worker.meter import Device

JUMP_S = 20.0


class StubDenoiser:
    """Answers with the seed of the picture, slowly."""

    def __init__(self, seed: int, answer_s: float) -> None:
        self._seed, self._answer_s = seed, answer_s
        self.evaluations = 0

    def count(self, _sigma: float) -> None:
        self.evaluations += 1

    def velocity(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        self.count(sigma)
        time.sleep(self._answer_s)
        return torch.full_like(x, self._seed)


class Stub:
    """In place of models.pipeline.generate."""

    def __init__(self, picture_s: float) -> None:
        self._picture_s = picture_s

    def __call__(
        self,
        _loaded: Any,
        spec: GenerationSpec,
        control: Image.Image,
        on_step: OnStep,
        memory: Memory,
        **_more: Any,
    ) -> Generation:
        made = []
        for index in range(spec.samples):
            kept = memory.made(index)
            made.append(kept or self._picture(spec, index, on_step, memory))
        return Generation(tuple(made), control, spec.profile)

    def _picture(self, spec: GenerationSpec, index: int, on_step: OnStep, memory: Memory) -> Made:
        denoiser = StubDenoiser(image_seed(spec.seed, index), self._picture_s / spec.steps)
        recorded = memory.answers(index)
        tape = EvaluationLog(cast(ControlledDenoiser, denoiser), torch.float64, recorded)
        answers = set()
        for step in range(1, spec.steps + 1):
            answers.add(int(tape.velocity(torch.zeros(1, dtype=torch.float64), 0.5).item()))
            memory.after_step(index, tape)
            on_step(index * spec.steps + step, spec.samples * spec.steps)
        colour = answers.pop() if len(answers) == 1 else 0
        pixels = np.empty((spec.height, spec.width, 3), np.uint8)
        pixels[:] = [colour >> 16 & 255, colour >> 8 & 255, colour & 255]
        made = Made(pixels, denoiser.evaluations, 0)
        memory.after_picture(index, made)
        return made


class JumpingClock:
    def __init__(self) -> None:
        self._ahead_s = 0.0
        signal.signal(signal.SIGUSR1, lambda *_: self._jump(JUMP_S))
        signal.signal(signal.SIGUSR2, lambda *_: self._jump(-JUMP_S))

    def now(self) -> int:
        return int(time.time() + self._ahead_s)

    def _jump(self, by_s: float) -> None:
        self._ahead_s += by_s


def main(picture_s: float) -> int:
    logging.basicConfig(level=logging.INFO)
    clock = JumpingClock()
    for module in (rq.registry, rq.executions):
        vars(module)["current_timestamp"] = clock.now
    checkpoint = SimpleNamespace(
        max_pixels=None,
        checkpoint=SimpleNamespace(name="stub"),
        networks=SimpleNamespace(profile=lambda asked: asked),
        device=torch.device("cpu"),
        dtype="float64",
        weights={},
    )
    # The modules that load diffusers, transformers and controlnet_aux: five seconds of a start.
    _replace("worker.library_logging", silence_libraries=lambda: None)
    _replace(
        "worker.model",
        load_checkpoint=lambda _settings: checkpoint,
        measured=lambda _loaded: Device("stub", "cpu", lambda: (0, 0)),
    )
    vars(worker.generate)["generate_pictures"] = Stub(picture_s)
    from worker.main import run_gpu

    return run_gpu()


def _replace(module: str, **names: Any) -> None:
    sys.modules[module] = cast(ModuleType, SimpleNamespace(**names))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))

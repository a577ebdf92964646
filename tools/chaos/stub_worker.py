"""The gpu worker of `scripts/chaos`: the real process around a stub of the model.

Usage: python -m tools.chaos.stub_worker SECONDS
A picture takes SECONDS and no CPU. The colour of its pixels is its seed as a number. The seed
passes through the real evaluation log, so the picture shows whether a resumed run replayed it.
SIGUSR1 moves the clock of the leases forwards, SIGUSR2 backwards.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import rq.executions
import rq.registry
import torch
from PIL import Image

import worker.generate
from models.denoiser import ControlledDenoiser
from models.evaluation_log import EvaluationLog, GeneratedImage, ResumeStore
from models.pipeline import Generation, OnStep
from models.spec import GenerationSpec, image_seed
from worker.meter import Device

JUMP_S = 20.0


class StubDenoiser:
    """Returns the seed of the picture as every velocity, slowly."""

    def __init__(self, seed: int, evaluation_s: float) -> None:
        self._seed, self._evaluation_s = seed, evaluation_s
        self.evaluations = 0

    def count(self, _sigma: float) -> None:
        self.evaluations += 1

    def velocity(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        self.count(sigma)
        time.sleep(self._evaluation_s)
        return torch.full_like(x, self._seed)


class Stub:
    """A stub of models.pipeline.generate."""

    def __init__(self, picture_s: float) -> None:
        self._picture_s = picture_s

    def __call__(
        self,
        _loaded: Any,
        spec: GenerationSpec,
        pictures: Sequence[Image.Image],
        on_step: OnStep,
        store: ResumeStore,
        **_more: Any,
    ) -> Generation:
        images = []
        for index in range(spec.samples):
            finished = store.finished_image(index)
            images.append(finished or self._image(spec, index, on_step, store))
        return Generation(tuple(images), tuple(pictures), spec.profile)

    def _image(
        self, spec: GenerationSpec, index: int, on_step: OnStep, store: ResumeStore
    ) -> GeneratedImage:
        denoiser = StubDenoiser(image_seed(spec.seed, index), self._picture_s / spec.steps)
        recorded = store.recorded(index)
        log = EvaluationLog(cast(ControlledDenoiser, denoiser), torch.float64, recorded)
        seeds = set()
        for step in range(1, spec.steps + 1):
            seeds.add(int(log.velocity(torch.zeros(1, dtype=torch.float64), 0.5).item()))
            store.after_step(index, log)
            on_step(index * spec.steps + step, spec.samples * spec.steps)
        colour = seeds.pop() if len(seeds) == 1 else 0
        pixels = np.empty((spec.height, spec.width, 3), np.uint8)
        pixels[:] = [colour >> 16 & 255, colour >> 8 & 255, colour & 255]
        image = GeneratedImage(pixels, denoiser.evaluations, 0)
        store.after_image(index, image)
        return image


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
        checkpoint=SimpleNamespace(name="stub", all_annotators=tuple),
        networks=SimpleNamespace(profile=lambda asked: asked),
        device=torch.device("cpu"),
        dtype="float64",
        weights={},
    )
    # These modules load diffusers, transformers and controlnet_aux, which takes five seconds.
    _replace("worker.library_logging", silence_libraries=lambda: None)
    _replace(
        "worker.model",
        load_checkpoint=lambda _settings: checkpoint,
        metered_device=lambda _loaded: Device("stub", "cpu", lambda: (0, 0)),
    )
    vars(worker.generate)["generate_pictures"] = Stub(picture_s)
    from worker.main import run_gpu

    return run_gpu()


def _replace(module: str, **names: Any) -> None:
    sys.modules[module] = cast(ModuleType, SimpleNamespace(**names))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))

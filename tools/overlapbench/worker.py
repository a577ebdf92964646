"""The gpu worker of `scripts/bench overlap`: the real process around a stub of the model.

Usage: bench_overlap_worker.py MARKS SECONDS
Everything except the model, which takes SECONDS for a picture, is the code of
`python -m app.cli worker gpu`. On shutdown it writes the trace of the thread that drives the device
to the file MARKS: a list of [name, seconds], one entry per finished call.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from rq import Queue

import worker.generate
import worker.model
from app.core.queueing.jobs import Jobs
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.core.storage.redis import RedisBlobs
from models.evaluation_log import GeneratedImage, ResumeStore
from models.pipeline import Generation, OnStep
from models.spec import GenerationSpec
from worker.gpu_worker import GpuWorker
from worker.main import run_gpu

CALLED, RETURNED = "model called", "model returned"

_SIDE = 1024
_STEPS = 20
_BETWEEN_CALLS = (
    (RedisBlobs, "put", "pixels stored"),
    (RequestStore, "advance", "stage closed"),
    (Jobs, "enqueue", "next stage queued"),
    (GpuWorker, "execute_job", "job ended"),
    (Queue, "dequeue_any", "next job taken"),
    (RequestStore, "claim", "stage claimed"),
    (RequestStore, "get", "record read"),
    (RedisBlobs, "get", "control read"),
)


class Marks:
    """The trace of the main thread, which drives the device."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, float]] = []

    def mark(self, name: str) -> float:
        now = time.perf_counter()
        if threading.current_thread() is threading.main_thread():
            self.entries.append((name, now))
        return now

    def after(self, owner: Any, method: str, name: str) -> None:
        """From now on, mark each return of a method (of a class method too)."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def marked(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.mark(name)
            return result

        setattr(owner, method, marked)


class Stub:
    """A stub of models.pipeline.generate: takes `seconds` per picture and no CPU.

    The CPU runs ahead of the device, as with a GPU, so reporting a step does not delay the device.
    """

    def __init__(self, marks: Marks, seconds: float) -> None:
        self._marks = marks
        self._seconds = seconds
        noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
        self._image = GeneratedImage(noise, _STEPS, _STEPS)  # noise: the largest and slowest PNG

    def __call__(
        self,
        _loaded: Any,
        spec: GenerationSpec,
        pictures: Sequence[Image.Image],
        on_step: OnStep,
        store: ResumeStore | None = None,
        **_more: Any,
    ) -> Generation:
        started = self._marks.mark(CALLED)
        for step in range(1, _STEPS + 1):
            on_step(step, _STEPS)
            time.sleep(max(0.0, started + self._seconds * step / _STEPS - time.perf_counter()))
        self._marks.mark(RETURNED)
        if store is not None:
            store.after_image(0, self._image)
        return Generation((self._image,), tuple(pictures), spec.profile)


def stub_checkpoint(_settings: Settings) -> SimpleNamespace:
    """A stub of worker.model.load_checkpoint, with the attributes that the worker reads."""
    return SimpleNamespace(
        max_pixels=None,
        checkpoint=SimpleNamespace(name="stub", all_annotators=tuple),
        networks=SimpleNamespace(profile=lambda asked: asked),
        device=torch.device("cpu"),
        dtype="float32",
        weights={},
    )


def main(path: Path, seconds: float) -> int:
    logging.basicConfig(level=logging.INFO)
    marks = Marks()
    for owner, method, name in _BETWEEN_CALLS:
        marks.after(owner, method, name)
    for module, name, stub in (
        (worker.model, "load_checkpoint", stub_checkpoint),
        (worker.generate, "generate_pictures", Stub(marks, seconds)),
    ):
        setattr(module, name, stub)
    try:
        return run_gpu()
    finally:
        path.write_text(json.dumps(marks.entries))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))

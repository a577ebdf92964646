"""A request that is cancelled while the model works on it, a hundred times at random moments."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rq.serializers import JSONSerializer

from app.core.errors import Cancelled
from app.core.lifecycle.cancellation import cancel
from app.core.queueing.jobs import GPU
from app.core.requests.record import Stage, Status
from models.evaluation_log import Made, Memory
from models.pipeline import Generation, OnStep
from models.spec import GenerationSpec
from worker import generate as job
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

STEPS = 15
PARAMS = {
    "prompt": "x",
    "cn_type": "canny",
    "cn_strength": 0.7,
    "cn_stop": 0.6,
    "guidance": 4.0,
    "steps": STEPS,
    "sampler": "euler",
    "scheduler": "simple",
    "samples": 1,
}
VICTIM, NEXT = 0, 1
"""Seeds, by which the stub of the model tells the two requests apart."""


class Canceller:
    """Cancels the victim from another thread at a step of it, while the steps go on."""

    def __init__(self, context: Runtime) -> None:
        self._context = context
        self.request_id = ""
        self.step = 0
        self.steps_after = 0
        self._thread: threading.Thread | None = None
        self._done = threading.Event()

    def begin(self, request_id: str, step: int) -> None:
        self.request_id, self.step, self.steps_after = request_id, step, 0
        self._done.clear()
        self._thread = threading.Thread(target=self._cancel)

    def model_step(self, step: int) -> None:
        """What the model does: knows nothing of being cancelled."""
        if self._done.is_set():
            self.steps_after += 1
        if step == self.step:
            assert self._thread is not None
            self._thread.start()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()

    def _cancel(self) -> None:
        context = self._context
        parts = context.requests, context.jobs, context.blobs, context.background_jobs
        assert cancel(*parts, self.request_id, Cancelled())
        self._done.set()


@pytest.fixture
def canceller(worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Canceller:
    made = Canceller(worker_runtime)

    def generate(
        _loaded: Any,
        spec: GenerationSpec,
        picture: Image.Image,
        on_step: OnStep,
        memory: Memory,
        **_more: Any,
    ) -> Generation:
        for step in range(1, STEPS + 1):
            if spec.seed == VICTIM:
                made.model_step(step)
            on_step(step, STEPS)
        pixels = Made(np.full((16, 16, 3), spec.seed, np.uint8), STEPS, STEPS)
        memory.after_picture(0, pixels)
        return Generation((pixels,), picture, "exact")

    monkeypatch.setattr(job, "generate_pictures", generate)
    worker_runtime.checkpoint = SimpleNamespace(  # type: ignore[assignment]  # all that is looked at
        checkpoint=SimpleNamespace(name="stub"),
        networks=SimpleNamespace(profile=lambda asked: asked),
        dtype="float32",
        device=torch.device("cpu"),
        weights={},
        max_pixels=None,
    )
    return made


@pytest.fixture
def worker(worker_runtime: Runtime) -> Iterator[GpuWorker]:
    queue = worker_runtime.jobs.queue(GPU)
    made = GpuWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    yield made
    made.teardown()


def prepared(context: Runtime, request_id: str, seed: int) -> None:
    expires_at = context.requests.expiry()
    context.requests.submit(request_id, "t", {**PARAMS, "seed": seed}, {}, expires_at)
    context.requests.claim(request_id, Stage.PREPARE, "e")
    size = {"width": 16, "height": 16, "work": 1.0}
    context.requests.advance(request_id, Stage.PREPARE, "e", size)
    context.blobs.put(f"{request_id}:control", bytes(16 * 16 * 3), expires_at)
    context.jobs.enqueue(request_id, Stage.GENERATE)


def test_it_frees_the_worker_within_a_step_and_the_next_job_is_untouched(
    worker: GpuWorker, worker_runtime: Runtime, canceller: Canceller
) -> None:
    draw = random.Random(1)
    for number in range(100):
        victim, following = f"{number:032x}", f"{number + 1000:032x}"
        prepared(worker_runtime, victim, VICTIM)
        prepared(worker_runtime, following, NEXT)
        canceller.begin(victim, draw.randint(1, STEPS))
        for _ in range(2):
            found = worker.dequeue_job_and_maintain_ttl(None)
            assert found is not None
            worker.execute_job(*found)
        canceller.join()
        worker_runtime.background_thread.settle()
        assert canceller.steps_after <= 1
        ended, made = (worker_runtime.requests.get(each) for each in (victim, following))
        assert ended is not None
        assert made is not None
        assert (ended.status, ended.error) == (Status.FAILED, "cancelled")
        assert (made.status, made.step) == (Status.PROCESSING, STEPS)
        assert worker_runtime.blobs.get(f"{following}:pixels:0") == bytes([NEXT]) * 16 * 16 * 3
        assert worker_runtime.redis.keys(f"blob:{victim}:*") == []
    assert worker_runtime.jobs.queue(GPU).job_ids == []
    # One that was cancelled between its last step and the hand-on may have a job there, too, which
    # finds it ended.
    finish = set(worker_runtime.jobs.queue("finish").job_ids)
    assert finish >= {f"{number + 1000:032x}-finish" for number in range(100)}

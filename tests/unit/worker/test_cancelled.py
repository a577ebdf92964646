"""Cancelling a request while the model works on it, a hundred times at random steps."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from app.core.redis import keys
from app.core.requests.record import Stage, Status
from app.core.requests.stage_results import PrepareResult
from app.core.requests.types import GenerationParameters, Source
from models.evaluation_log import GeneratedImage, ResumeStore
from models.pipeline import Generation, OnStep
from models.spec import GenerationSpec
from worker import generate as job
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

STEPS = 15
PARAMS = GenerationParameters(
    prompt="x",
    cn_type="canny",
    cn_strength=0.7,
    cn_stop=0.6,
    guidance=4.0,
    steps=STEPS,
    sampler="euler",
    scheduler="simple",
    samples=1,
)
VICTIM, NEXT = 0, 1
"""Seeds by which the stub of the model distinguishes the two requests."""


class Canceller:
    """Cancels the victim from another thread at a given step, while the model keeps stepping."""

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
        """Called by the model, which does not know of the cancellation."""
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
    canceller = Canceller(worker_runtime)

    def generate(
        _loaded: Any,
        spec: GenerationSpec,
        pictures: Sequence[Image.Image],
        on_step: OnStep,
        resume_store: ResumeStore,
        **_more: Any,
    ) -> Generation:
        for step in range(1, STEPS + 1):
            if spec.seed == VICTIM:
                canceller.model_step(step)
            on_step(step, STEPS)
        pixels = GeneratedImage(np.full((16, 16, 3), spec.seed, np.uint8), STEPS, STEPS)
        resume_store.after_image(0, pixels)
        return Generation((pixels,), tuple(pictures), "exact")

    monkeypatch.setattr(job, "generate_pictures", generate)
    worker_runtime.checkpoint = SimpleNamespace(  # type: ignore[assignment]  # only what is read
        checkpoint=SimpleNamespace(name="stub", all_annotators=tuple),
        networks=SimpleNamespace(profile=lambda asked: asked),
        dtype="float32",
        device=torch.device("cpu"),
        weights={},
        max_pixels=None,
    )
    return canceller


@pytest.fixture
def worker(worker_runtime: Runtime) -> Iterator[GpuWorker]:
    queue = worker_runtime.jobs.queue(GPU)
    worker = GpuWorker([queue], connection=worker_runtime.redis, serializer=JSONSerializer)
    yield worker
    worker.teardown()


def prepared(context: Runtime, request_id: str, seed: int) -> None:
    expires_at = context.requests.expiry()
    context.requests.submit(request_id, "t", replace(PARAMS, seed=seed), Source(), expires_at)
    context.requests.claim(request_id, Stage.PREPARE, "e")
    result = PrepareResult(16, 16, work=1.0, profile="exact", annotated=False)
    context.requests.advance(request_id, Stage.PREPARE, "e", result)
    context.blobs.put(keys.control_blob(request_id), bytes(16 * 16 * 3), expires_at)
    context.jobs.enqueue(request_id, Stage.GENERATE)


def test_cancelling_frees_the_worker_within_a_step_and_leaves_the_next_job_untouched(
    worker: GpuWorker, worker_runtime: Runtime, canceller: Canceller
) -> None:
    draw = random.Random(1)
    for number in range(100):
        victim, following = f"{number:032x}", f"{number + 1000:032x}"
        prepared(worker_runtime, victim, VICTIM)
        prepared(worker_runtime, following, NEXT)
        canceller.begin(victim, draw.randint(1, STEPS))
        for _ in range(2):
            job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
            assert job_and_queue is not None
            worker.execute_job(*job_and_queue)
        canceller.join()
        worker_runtime.background_thread.flush()
        assert canceller.steps_after <= 1
        cancelled, generated = (
            worker_runtime.requests.get(request_id) for request_id in (victim, following)
        )
        assert cancelled is not None
        assert generated is not None
        assert (cancelled.status, cancelled.error) == (Status.FAILED, "cancelled")
        assert (generated.status, generated.step) == (Status.PROCESSING, STEPS)
        assert worker_runtime.blobs.get(f"{following}:pixels:0") == bytes([NEXT]) * 16 * 16 * 3
        assert worker_runtime.redis.keys(f"blob:{victim}:*") == []
    assert worker_runtime.jobs.queue(GPU).job_ids == []
    # A request cancelled between its last step and the next stage may have a finish job too; that
    # job finds the request ended.
    finish = set(worker_runtime.jobs.queue("finish").job_ids)
    assert finish >= {f"{number + 1000:032x}-finish" for number in range(100)}

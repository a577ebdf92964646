"""What a gpu worker says of itself in Redis."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rq.serializers import JSONSerializer

from app.core.queue import GPU
from worker.gpu_worker import GpuWorker
from worker.runtime import Runtime


@pytest.mark.parametrize("pixels", [None, 4_000_000])
def test_it_says_what_its_card_can_do_as_long_as_it_lives(
    worker_runtime: Runtime, pixels: int | None
) -> None:
    jobs, checkpoint = worker_runtime.jobs, SimpleNamespace(max_pixels=pixels)
    worker_runtime.checkpoint = checkpoint  # type: ignore[assignment]
    worker = GpuWorker(
        [jobs.queue(GPU)], connection=worker_runtime.redis, serializer=JSONSerializer
    )
    assert jobs.max_pixels() is None
    worker.register_birth()
    assert jobs.workers(GPU) == 1
    assert jobs.max_pixels() == pixels
    worker.register_death()
    assert jobs.max_pixels() is None

"""The first job: which size a request gets, and what it will cost."""

from __future__ import annotations

from typing import Any

import pytest
from rq import SimpleWorker

from app.core.queue import GPU
from app.core.record import RequestRecord
from app.core.workers import MAX_PIXELS_FIELD
from models.controls import make_plain_map
from models.geometry import generated_size
from tests.support.pictures import astronaut, encoded
from worker import prepare as job
from worker.runtime import Runtime

ID = "d" * 32
PARAMS = {
    "cn_type": "depth",
    "use_input_img_dimension": True,
    "custom_width": 640,
    "custom_height": 480,
    "sampler": "heun",
    "scheduler": "ddim_uniform",
    "steps": 15,
    "samples": 2,
}


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job bounds its own process, which here is the tests'."""
    monkeypatch.setattr(job.resource, "setrlimit", lambda *_: None)


def prepared(context: Runtime, size: tuple[int, int], **params: Any) -> RequestRecord:
    """The record after the job, for an uploaded picture of `size`."""
    expires_at = context.requests.expiry()
    context.requests.submit(ID, "a", {**PARAMS, **params}, {"kind": "file"}, expires_at)
    context.blobs.put(f"{ID}:source", encoded(astronaut(size)), expires_at)
    job.prepare(ID)
    record = context.requests.get(ID)
    assert record is not None
    assert record.error is None
    return record


def test_size_control_and_work_are_there_before_the_gpu_is_asked(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime, (100, 60))
    assert (record.width, record.height) == (100, 60)
    control = worker_runtime.blobs.get(f"{ID}:control")
    assert control is not None
    assert len(control) == 112 * 64 * 3
    # 15 steps are 16 in this schedule, two evaluations each but the last, two pictures.
    assert record.work == pytest.approx(112 * 64 / 2**20 * 31 * 2)
    assert worker_runtime.jobs.queue(GPU).job_ids == [f"{ID}-generate"]
    assert worker_runtime.blobs.get(f"{ID}:source") is None


@pytest.mark.parametrize(
    ("size", "target"), [((1, 1), (1, 1)), ((20_000, 1), (4096, 1)), ((1, 20_000), (1, 4096))]
)
def test_the_thinnest_pictures_have_a_size_too(
    worker_runtime: Runtime, size: tuple[int, int], target: tuple[int, int]
) -> None:
    record = prepared(worker_runtime, size)
    assert (record.width, record.height) == target
    control = worker_runtime.blobs.get(f"{ID}:control")
    assert control is not None
    width, height = generated_size(target)
    assert len(control) == width * height * 3


@pytest.mark.parametrize("control", ["canny", "tile"])
def test_a_map_that_needs_no_detector_is_made_here(worker_runtime: Runtime, control: str) -> None:
    record = prepared(worker_runtime, (112, 64), cn_type=control)
    assert record.annotated
    expected = make_plain_map(control, astronaut((112, 64)), (112, 64))
    assert expected is not None
    assert worker_runtime.blobs.get(f"{ID}:control") == expected.tobytes()


@pytest.mark.parametrize("control", ["depth", "pose"])
def test_a_map_that_needs_one_is_left_to_the_gpu_worker(
    worker_runtime: Runtime, control: str
) -> None:
    record = prepared(worker_runtime, (112, 64), cn_type=control)
    assert not record.annotated
    assert worker_runtime.blobs.get(f"{ID}:control") == astronaut((112, 64)).tobytes()


def test_a_custom_size_is_taken_as_it_is(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime, (100, 60), use_input_img_dimension=False)
    assert (record.width, record.height) == (640, 480)


def test_an_input_is_scaled_down_to_what_the_smallest_card_can_do(worker_runtime: Runtime) -> None:
    queue = worker_runtime.jobs.queue(GPU)
    card = SimpleWorker([queue], connection=worker_runtime.redis)
    card.register_birth()
    worker_runtime.redis.hset(card.key, MAX_PIXELS_FIELD, 80 * 40)
    record = prepared(worker_runtime, (160, 80))
    assert (record.width, record.height) == (80, 40)
    assert generated_size((80, 40)) == (80, 48)
    assert record.work == pytest.approx(80 * 48 / 2**20 * 31 * 2)


def test_the_time_of_a_decoder_grows_with_the_pixels() -> None:
    """64 megapixels take 11 s of a core at most; a job has 90 s, 20 of them to download."""
    assert job._decode_seconds(1) < 5
    assert 3 * 11 <= job._decode_seconds(67_108_864) <= 40
    assert job._decode_seconds(4 * 134_217_728) <= 90 - 20 - 20

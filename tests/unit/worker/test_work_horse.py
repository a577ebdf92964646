"""A real cpu worker with real work horses: a hostile picture fails only its own request."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from PIL import Image
from rq import Worker
from rq.results import Result

from app.core.queueing.jobs import CPU, GPU
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import GenerationParameters, Source
from tests.support.picture_files import bombs, filled, saved
from tests.support.servers import ROOT, environment
from tests.support.slow_jpeg import slow_jpeg
from worker.runtime import Runtime

PARAMS = GenerationParameters(
    cn_type="canny",
    use_input_img_dimension=True,
    sampler="euler",
    scheduler="simple",
    steps=15,
    samples=1,
)
# The real worker, with less memory for a decoder and the given time limit for every size, so that
# small files exceed them.
PROGRAM = """
import sys
import worker.prepare
from worker.main import run_cpu
worker.prepare._ADDRESS_SPACE = 1024**3 // 4 * 3
worker.prepare._DECODE_S = float(sys.argv[1])
worker.prepare._DECODE_S_PER_MEGAPIXEL = 0.0
sys.exit(run_cpu())
"""

BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "pixels": (
        lambda: bombs()["PNG of 20 kB"],
        "image: 13000x13000 pixels; at most 67108864 pixels are allowed",
    ),
    "memory": (
        lambda: saved(Image.new("RGB", (8000, 8000)), "PNG"),
        "image: decoding it takes more memory than it may",
    ),
    "scans": (slow_jpeg, "image: a JPEG of 701 scans; at most 64 are read"),
    "time": (lambda: slow_jpeg(scans=60), "image: decoding it takes longer than it may"),
}


@pytest.fixture
def cpu_worker(worker_runtime: Runtime, redis_server: str, kind: str) -> Iterator[Runtime]:
    """The runtime of this process; a cpu worker runs in another process."""
    decode_s = "1" if kind == "time" else "60"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, decode_s],
        cwd=ROOT,
        env=environment(REDIS_URL=redis_server),
    )
    try:
        yield worker_runtime
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)


def ended(context: Runtime, picture: bytes) -> RequestRecord:
    """The record of a request for this picture, after its prepare job."""
    request_id, expires_at = uuid.uuid4().hex, context.requests.expiry()
    context.requests.submit(request_id, "a", PARAMS, Source(kind="file"), expires_at)
    context.blobs.put(keys.source_blob(request_id), picture, expires_at)
    context.jobs.enqueue(request_id, Stage.PREPARE)
    job = context.jobs.queue(CPU).fetch_job(f"{request_id}-prepare")
    assert job is not None
    result = job.latest_result(timeout=120)
    assert result is not None
    assert result.type is Result.Type.SUCCESSFUL
    record = context.requests.get(request_id)
    assert record is not None
    return record


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_fails_only_its_own_request(cpu_worker: Runtime, kind: str) -> None:
    bomb, reason = BOMBS[kind]
    failed = ended(cpu_worker, bomb())
    assert (failed.status, failed.error) == (Status.FAILED, reason)
    assert failed.error_status == 400
    assert cpu_worker.blobs.get(keys.source_blob(failed.id)) is None
    (before,) = Worker.all(connection=cpu_worker.redis)

    good = ended(cpu_worker, saved(filled(), "PNG"))
    assert (good.status, good.width, good.height) == (Status.QUEUED, 12, 8)
    assert cpu_worker.jobs.queue(GPU).job_ids == [f"{good.id}-generate"]
    (after,) = Worker.all(connection=cpu_worker.redis)
    assert after.name == before.name

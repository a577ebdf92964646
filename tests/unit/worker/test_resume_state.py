"""Resume state: the next worker continues the request of a dead one, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.redis import keys
from app.core.requests.record import Stage, Status
from app.core.requests.types import GenerationParameters, SavedWork, Source
from models.checkpoints import Checkpoint, LoadedCheckpoint, load
from models.evaluation_log import EvaluationLog, GeneratedImage
from tests.support.pictures import astronaut
from tests.support.records import SOURCE, prepared
from worker import generate as job
from worker import resume_state as resume_state_module
from worker.progress import Progress
from worker.resume_state import ResumeState
from worker.runtime import Runtime
from worker.stage import LostClaim

pytestmark = pytest.mark.torch

ID, UNDISTURBED = "c" * 32, "d" * 32
SIZE = (64, 48)
PARAMS = GenerationParameters(
    prompt="x",
    cn_type="canny",
    cn_strength=0.7,
    cn_stop=0.6,
    guidance=4.0,
    steps=6,
    sampler="dpmpp_sde",
    scheduler="simple",
    seed=9,
    samples=3,
)


class Killed(BaseException):
    """Like the death of the process: no code in the worker handles it."""


@pytest.fixture
def context(worker_runtime: Runtime, stand_in: LoadedCheckpoint) -> Runtime:
    """A gpu worker that saves after every step, and two requests for the same pictures."""
    context = worker_runtime
    context.checkpoint = stand_in
    context.settings = context.settings.model_copy(update={"resume_every_s": 1e-9})
    expires_at = context.requests.expiry()
    for request_id in (ID, UNDISTURBED):
        context.requests.submit(request_id, "a", PARAMS, SOURCE, expires_at)
        context.requests.claim(request_id, Stage.PREPARE, "e1")
        width, height = SIZE
        result = prepared(width=width, height=height)
        context.requests.advance(request_id, Stage.PREPARE, "e1", result)
        control = astronaut().resize(SIZE, Image.Resampling.BOX)
        context.blobs.put(keys.control_blob(request_id), control.tobytes(), expires_at)
    return context


def run(request_id: str) -> None:
    deferred = job.generate(request_id)
    if deferred is not None:
        deferred()


def killed_at(
    monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException] = Killed
) -> None:
    """The next run ends after `step` steps of all its pictures."""

    original = Progress.on_step

    def on_step(progress: Progress, done: int, steps: int) -> None:
        original(progress, done, steps)
        if done == step:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step", on_step)
        with pytest.raises(error):
            job.generate(ID)


@contextmanager
def counted(stand_in: LoadedCheckpoint) -> Iterator[list[None]]:
    calls: list[None] = []
    layer = stand_in.pipe.transformer.x_embedder
    handle = layer.register_forward_pre_hook(lambda *_: calls.append(None))
    yield calls
    handle.remove()


def pixels(context: Runtime, request_id: str) -> list[bytes | None]:
    return [context.blobs.get(keys.pixels_blob(request_id, index)) for index in range(3)]


def reported_steps(context: Runtime) -> list[int]:
    events = [fields for _, fields in context.redis.xrange(keys.request_events(ID))]
    return [int(fields[b"step"]) for fields in events if b"step" in fields]


def evaluation_blobs(context: Runtime) -> list[bytes]:
    return list(context.redis.scan_iter("blob:*:answers:*"))


@pytest.mark.parametrize("steps", [[2], [6], [8], [13, 15], [1, 4, 7, 17]])
def test_the_next_worker_resumes_a_request(
    context: Runtime, stand_in: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    run(UNDISTURBED)
    whole = context.requests.get(UNDISTURBED)
    assert whole is not None
    with counted(stand_in) as calls:
        for step in steps:
            killed_at(monkeypatch, step)
        run(ID)
    assert pixels(context, ID) == pixels(context, UNDISTURBED)
    assert None not in pixels(context, ID)
    record = context.requests.get(ID)
    assert record is not None
    assert (record.evaluations, record.controlled) == (whole.evaluations, whole.controlled)
    # The state is saved after every step, so only the evaluations of a killed step run twice.
    assert whole.evaluations <= len(calls) <= whole.evaluations + 2 * len(steps)
    assert reported_steps(context) == list(range(1, record.steps + 1))
    for request_id in (ID, UNDISTURBED):
        delete_temporary_blobs(context.requests, context.blobs, request_id)
    assert evaluation_blobs(context) == []


def test_an_immediate_shutdown_saves_the_evaluations(
    context: Runtime, stand_in: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.settings = context.settings.model_copy(update={"resume_every_s": 1000})
    with counted(stand_in) as calls:
        killed_at(monkeypatch, 4, SystemExit)
        before = len(calls)
        run(ID)
    record = context.requests.get(ID)
    assert record is not None
    assert len(calls) == record.evaluations
    assert before == 8  # dpmpp_sde evaluates twice a step


def test_a_short_request_saves_no_evaluations(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.settings = context.settings.model_copy(update={"resume_every_s": 1000})
    killed_at(monkeypatch, 4)
    assert evaluation_blobs(context) == []
    record = context.requests.get(ID)
    assert record is not None
    assert record.saved_work == SavedWork()


def test_a_worker_with_another_model_starts_over(
    context: Runtime,
    stand_in_checkpoint: Checkpoint,
    stand_in: LoadedCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed_at(monkeypatch, 8)
    context.checkpoint = load(stand_in_checkpoint, torch.device("cpu"), torch.bfloat16)
    run(ID)
    half = pixels(context, ID)
    run(UNDISTURBED)
    assert half == pixels(context, UNDISTURBED)
    assert replace(stand_in, dtype=torch.bfloat16).dtype is context.checkpoint.dtype


def test_lost_evaluations_cost_time_and_nothing_else(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(UNDISTURBED)
    killed_at(monkeypatch, 8)
    names = sorted(evaluation_blobs(context))
    context.redis.delete(names[len(names) // 2])
    run(ID)
    assert pixels(context, ID) == pixels(context, UNDISTURBED)


def test_a_worker_that_lost_the_request_saves_nothing(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step(_progress: Progress, done: int, _steps: int) -> None:
        if done == 3:
            context.requests.claim(ID, Stage.GENERATE, "another")
            records.append(context.requests.get(ID))

    records: list[Any] = []
    monkeypatch.setattr(Progress, "on_step", on_step)
    assert job.generate(ID) is None
    record = context.requests.get(ID)
    assert record is not None
    assert record.saved_work == records[0].saved_work
    names = {f"blob:{name}".encode() for name, _ in record.saved_work.chunks}
    assert set(evaluation_blobs(context)) == names
    assert record.status is Status.PROCESSING


class StubLog:
    """Stands for an EvaluationLog: drain() returns the evaluations once."""

    def __init__(self, *evaluations: bytes) -> None:
        self._evaluations = list(evaluations)

    def drain(self) -> list[bytes]:
        drained, self._evaluations = self._evaluations, []
        return drained


class Clock:
    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def monotonic(self) -> float:
        return 1000 + self.elapsed_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resume_state_module, "time", clock)
    return clock


@pytest.fixture
def claimed(worker_runtime: Runtime) -> Runtime:
    """A gpu worker that has a request for three pictures of 16x16, and saves every ten seconds."""
    requests = worker_runtime.requests
    requests.submit(ID, "a", GenerationParameters(samples=3), Source(), requests.expiry())
    requests.claim(ID, Stage.PREPARE, "e0")
    requests.advance(ID, Stage.PREPARE, "e0", prepared(width=16, height=16))
    requests.claim(ID, Stage.GENERATE, "e1")
    return worker_runtime


def resume_state(context: Runtime, execution: str = "e1", source: str = "demo") -> ResumeState:
    record = context.requests.get(ID)
    assert record is not None
    return ResumeState(context, record, execution, source)


def kept_state(context: Runtime) -> SavedWork:
    record = context.requests.get(ID)
    assert record is not None
    return record.saved_work


def log_of(*evaluations: bytes) -> EvaluationLog:
    return cast(EvaluationLog, StubLog(*evaluations))


def image(shade: int) -> GeneratedImage:
    return GeneratedImage(np.full((16, 16, 3), shade, np.uint8), 10 + shade, shade)


def chunk(execution: str, number: int) -> str:
    return f"{ID}:answers:{execution}:{number}"


@pytest.mark.parametrize(("elapsed_s", "saved"), [(9.99, False), (10.0, True)])
def test_evaluations_are_saved_every_ten_seconds(
    claimed: Runtime, clock: Clock, elapsed_s: float, saved: bool
) -> None:
    state = resume_state(claimed)
    clock.elapsed_s = elapsed_s
    state.after_step(0, log_of(b"ab", b"cd"))
    assert claimed.blobs.get(chunk("e1", 0)) == (b"abcd" if saved else None)
    expected = SavedWork("demo", (), ((chunk("e1", 0), 2),), 10.0)
    assert kept_state(claimed) == (expected if saved else SavedWork())


def test_the_save_interval_counts_from_the_last_save(claimed: Runtime, clock: Clock) -> None:
    state = resume_state(claimed)
    for clock.elapsed_s, evaluation in ((12.0, b"ab"), (21.9, b"cd"), (22.0, b"ef")):
        state.after_step(0, log_of(evaluation))
    assert claimed.blobs.get(chunk("e1", 0)) == b"ab"
    assert claimed.blobs.get(chunk("e1", 1)) == b"ef"
    assert kept_state(claimed).chunks == ((chunk("e1", 0), 1), (chunk("e1", 1), 1))


def test_nothing_is_saved_without_new_evaluations(claimed: Runtime, clock: Clock) -> None:
    state = resume_state(claimed)
    state.save()
    clock.elapsed_s = 10.0
    state.after_step(0, log_of())
    assert kept_state(claimed) == SavedWork()
    clock.elapsed_s = 19.9
    state.after_step(0, log_of(b"ab"))
    assert kept_state(claimed) == SavedWork()


def test_a_later_execution_finds_evaluations_images_and_time(
    claimed: Runtime, clock: Clock
) -> None:
    first = resume_state(claimed)
    first.after_image(0, image(1))
    for clock.elapsed_s, evaluations in ((10.0, (b"ab", b"cd")), (20.0, (b"ef",))):
        first.after_step(1, log_of(*evaluations))
    claimed.requests.claim(ID, Stage.GENERATE, "e2")
    clock.elapsed_s = 100.0
    second = resume_state(claimed, "e2")
    assert second.seconds == 20.0
    clock.elapsed_s = 103.0
    assert second.seconds == 23.0
    restored = second.finished_image(0)
    assert restored is not None
    assert (restored.pixels.tobytes(), restored.evaluations, restored.controlled) == (
        bytes([1]) * 768,
        11,
        1,
    )
    assert second.finished_image(1) is None
    assert [list(second.recorded(index)) for index in (0, 1, 2)] == [[], [b"ab", b"cd", b"ef"], []]
    clock.elapsed_s = 110.0
    second.after_step(1, log_of(b"gh"))
    assert [name for name, _ in kept_state(claimed).chunks] == [
        chunk("e1", 0),
        chunk("e1", 1),
        chunk("e2", 2),
    ]
    assert kept_state(claimed).seconds == 30.0


def test_evaluations_of_another_model_are_not_replayed(claimed: Runtime, clock: Clock) -> None:
    first = resume_state(claimed)
    first.after_image(0, image(1))
    clock.elapsed_s = 10.0
    first.after_step(1, log_of(b"ab"))
    other = resume_state(claimed, source="another")
    assert (other.seconds, other.finished_image(0), list(other.recorded(0))) == (0.0, None, [])


def test_a_lost_chunk_ends_the_recorded_evaluations(claimed: Runtime, clock: Clock) -> None:
    """Replay needs all evaluations from the first one, without a gap."""
    first = resume_state(claimed)
    for number in range(3):
        clock.elapsed_s += 10.0
        first.after_step(0, log_of(b"%d" % number))
    claimed.blobs.delete(chunk("e1", 1))
    second = resume_state(claimed)
    assert list(second.recorded(0)) == [b"0"]
    clock.elapsed_s += 10.0
    second.after_step(0, log_of(b"new"))
    assert kept_state(claimed).chunks == ((chunk("e1", 0), 1), (chunk("e1", 1), 1))
    assert claimed.blobs.get(chunk("e1", 1)) == b"new"


def test_an_image_whose_pixels_are_lost_is_generated_again(claimed: Runtime) -> None:
    resume_state(claimed).after_image(0, image(1))
    claimed.blobs.delete(f"{ID}:pixels:0")
    state = resume_state(claimed)
    assert state.finished_image(0) is None
    state.after_image(0, image(2))
    assert kept_state(claimed).pictures == ((12, 2),)


def test_a_finished_image_is_stored_and_its_evaluations_are_deleted(
    claimed: Runtime, clock: Clock
) -> None:
    state = resume_state(claimed)
    clock.elapsed_s = 10.0
    state.after_step(0, log_of(b"ab"))
    state.after_image(0, image(1))
    assert evaluation_blobs(claimed) == []
    assert claimed.blobs.get(f"{ID}:pixels:0") == bytes([1]) * 768
    assert (kept_state(claimed).pictures, kept_state(claimed).chunks) == (((11, 1),), ())
    clock.elapsed_s = 30.0
    state.save()  # no log of another image exists yet
    assert evaluation_blobs(claimed) == []


def test_the_last_image_is_stored_by_finish_and_its_evaluations_stay(
    claimed: Runtime, clock: Clock
) -> None:
    """Another worker may take the request over until it has ended."""
    state = resume_state(claimed)
    state.finish()  # no image is finished yet
    for index in (0, 1):
        state.after_image(index, image(index))
    clock.elapsed_s = 10.0
    state.after_step(2, log_of(b"ab"))
    state.after_image(2, image(2))
    assert claimed.blobs.get(f"{ID}:pixels:2") is None
    state.finish()
    assert claimed.blobs.get(f"{ID}:pixels:2") == bytes([2]) * 768
    assert claimed.blobs.get(chunk("e1", 0)) == b"ab"
    blob_ttl_s = cast(int, claimed.redis.ttl(f"blob:{ID}:pixels:2"))
    assert abs(blob_ttl_s - cast(int, claimed.redis.ttl(f"req:{ID}"))) <= 1


def test_an_execution_that_lost_its_claim_saves_no_evaluations(
    claimed: Runtime, clock: Clock
) -> None:
    state = resume_state(claimed)
    claimed.requests.claim(ID, Stage.GENERATE, "another")
    clock.elapsed_s = 10.0
    with pytest.raises(LostClaim):
        state.after_step(0, log_of(b"ab"))
    assert evaluation_blobs(claimed) == []
    with pytest.raises(LostClaim):
        state.after_image(0, image(1))
    assert kept_state(claimed) == SavedWork()

"""A request whose worker dies is gone on with by the next one, byte for byte."""

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
from models.checkpoints import Checkpoint, LoadedCheckpoint, load
from models.evaluation_log import EvaluationLog, Made
from tests.support.pictures import astronaut
from worker import generate as job
from worker import resume_state as memory_module
from worker.progress import Progress
from worker.resume_state import ResumeState
from worker.runtime import Runtime
from worker.stage import LostClaim

pytestmark = pytest.mark.torch

ID, UNDISTURBED = "c" * 32, "d" * 32
SIZE = (64, 48)
PARAMS = {
    "prompt": "x",
    "cn_type": "canny",
    "cn_strength": 0.7,
    "cn_stop": 0.6,
    "guidance": 4.0,
    "steps": 6,
    "sampler": "dpmpp_sde",
    "scheduler": "simple",
    "seed": 9,
    "samples": 3,
}


class Killed(BaseException):
    """Nothing in the worker gets to handle it, like the process's end."""


@pytest.fixture
def context(worker_runtime: Runtime, stand_in: LoadedCheckpoint) -> Runtime:
    """A gpu worker that saves after every step, and two requests for the same pictures."""
    context = worker_runtime
    context.checkpoint = stand_in
    context.settings = context.settings.model_copy(update={"resume_every_s": 1e-9})
    expires_at = context.requests.expiry()
    for request_id in (ID, UNDISTURBED):
        context.requests.submit(request_id, "a", PARAMS, {}, expires_at)
        context.requests.claim(request_id, Stage.PREPARE, "e1")
        width, height = SIZE
        context.requests.advance(
            request_id, Stage.PREPARE, "e1", {"width": width, "height": height}
        )
        control = astronaut().resize(SIZE, Image.Resampling.BOX)
        context.blobs.put(f"{request_id}:control", control.tobytes(), expires_at)
    return context


def run(request_id: str) -> None:
    rest = job.generate(request_id)
    if rest is not None:
        rest()


def killed_at(
    monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException] = Killed
) -> None:
    """The next run ends after `step` steps of all its pictures."""

    told = Progress.on_step

    def on_step(progress: Progress, done: int, steps: int) -> None:
        told(progress, done, steps)
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
    return [context.blobs.get(f"{request_id}:pixels:{index}") for index in range(3)]


def reported_steps(context: Runtime) -> list[int]:
    events = [fields for _, fields in context.redis.xrange(keys.request_events(ID))]
    return [int(fields[b"step"]) for fields in events if b"step" in fields]


def blobs_of_answers(context: Runtime) -> list[bytes]:
    return list(context.redis.scan_iter("blob:*:answers:*"))


@pytest.mark.parametrize("steps", [[2], [6], [8], [13, 15], [1, 4, 7, 17]])
def test_the_next_worker_goes_on(
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
    # Saved after every step: not one evaluation is made twice, but for those of the killed step.
    assert whole.evaluations <= len(calls) <= whole.evaluations + 2 * len(steps)
    assert reported_steps(context) == list(range(1, record.steps + 1))
    for request_id in (ID, UNDISTURBED):
        delete_temporary_blobs(context.requests, context.blobs, request_id)
    assert blobs_of_answers(context) == []


def test_being_told_to_leave_at_once_saves_what_there_is(
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


def test_short_requests_leave_nothing(context: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    context.settings = context.settings.model_copy(update={"resume_every_s": 1000})
    killed_at(monkeypatch, 4)
    assert blobs_of_answers(context) == []
    record = context.requests.get(ID)
    assert record is not None
    assert record.kept == {}


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


def test_lost_answers_cost_time_and_nothing_else(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(UNDISTURBED)
    killed_at(monkeypatch, 8)
    names = sorted(blobs_of_answers(context))
    context.redis.delete(names[len(names) // 2])
    run(ID)
    assert pixels(context, ID) == pixels(context, UNDISTURBED)


def test_a_worker_that_lost_the_request_saves_nothing(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step(_progress: Progress, done: int, _steps: int) -> None:
        if done == 3:
            context.requests.claim(ID, Stage.GENERATE, "another")
            noted.append(context.requests.get(ID))

    noted: list[Any] = []
    monkeypatch.setattr(Progress, "on_step", on_step)
    assert job.generate(ID) is None
    record = context.requests.get(ID)
    assert record is not None
    assert record.kept == noted[0].kept
    names = {f"blob:{name}".encode() for name, _ in record.kept["chunks"]}
    assert set(blobs_of_answers(context)) == names
    assert record.status is Status.PROCESSING


class Answers:
    """In the place of a tape: what the model has answered since it was asked last."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def take(self) -> list[bytes]:
        taken, self._answers = self._answers, []
        return taken


class Clock:
    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return 1000 + self.passed_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(memory_module, "time", made)
    return made


@pytest.fixture
def claimed(worker_runtime: Runtime) -> Runtime:
    """A gpu worker that has a request for three pictures of 16x16, and saves every ten seconds."""
    requests = worker_runtime.requests
    requests.submit(ID, "a", {"samples": 3}, {}, requests.expiry())
    requests.claim(ID, Stage.PREPARE, "e0")
    requests.advance(ID, Stage.PREPARE, "e0", {"width": 16, "height": 16})
    requests.claim(ID, Stage.GENERATE, "e1")
    return worker_runtime


def remembering(context: Runtime, execution: str = "e1", source: str = "demo") -> ResumeState:
    record = context.requests.get(ID)
    assert record is not None
    return ResumeState(context, record, execution, source)


def noted(context: Runtime) -> dict[str, Any]:
    record = context.requests.get(ID)
    assert record is not None
    return dict(record.kept)


def tape(*answers: bytes) -> EvaluationLog:
    return cast(EvaluationLog, Answers(*answers))


def picture(shade: int) -> Made:
    return Made(np.full((16, 16, 3), shade, np.uint8), 10 + shade, shade)


def chunk(execution: str, number: int) -> str:
    return f"{ID}:answers:{execution}:{number}"


@pytest.mark.parametrize(("passed_s", "saved"), [(9.99, False), (10.0, True)])
def test_what_was_answered_is_saved_every_ten_seconds(
    claimed: Runtime, clock: Clock, passed_s: float, saved: bool
) -> None:
    memory = remembering(claimed)
    clock.passed_s = passed_s
    memory.after_step(0, tape(b"ab", b"cd"))
    assert claimed.blobs.get(chunk("e1", 0)) == (b"abcd" if saved else None)
    expected = {"source": "demo", "made": [], "chunks": [[chunk("e1", 0), 2]], "seconds": 10.0}
    assert noted(claimed) == (expected if saved else {})


def test_the_ten_seconds_count_from_the_last_time(claimed: Runtime, clock: Clock) -> None:
    memory = remembering(claimed)
    for clock.passed_s, answer in ((12.0, b"ab"), (21.9, b"cd"), (22.0, b"ef")):
        memory.after_step(0, tape(answer))
    assert claimed.blobs.get(chunk("e1", 0)) == b"ab"
    assert claimed.blobs.get(chunk("e1", 1)) == b"ef"
    assert noted(claimed)["chunks"] == [[chunk("e1", 0), 1], [chunk("e1", 1), 1]]


def test_a_time_without_answers_is_no_reason_to_write(claimed: Runtime, clock: Clock) -> None:
    memory = remembering(claimed)
    memory.save()
    clock.passed_s = 10.0
    memory.after_step(0, tape())
    assert noted(claimed) == {}
    clock.passed_s = 19.9
    memory.after_step(0, tape(b"ab"))
    assert noted(claimed) == {}


def test_a_later_execution_finds_answers_pictures_and_time(claimed: Runtime, clock: Clock) -> None:
    first = remembering(claimed)
    first.after_picture(0, picture(1))
    for clock.passed_s, answers in ((10.0, (b"ab", b"cd")), (20.0, (b"ef",))):
        first.after_step(1, tape(*answers))
    claimed.requests.claim(ID, Stage.GENERATE, "e2")
    clock.passed_s = 100.0
    second = remembering(claimed, "e2")
    assert second.seconds == 20.0
    clock.passed_s = 103.0
    assert second.seconds == 23.0
    found = second.made(0)
    assert found is not None
    assert (found.pixels.tobytes(), found.evaluations, found.controlled) == (
        bytes([1]) * 768,
        11,
        1,
    )
    assert second.made(1) is None
    assert [list(second.answers(index)) for index in (0, 1, 2)] == [[], [b"ab", b"cd", b"ef"], []]
    clock.passed_s = 110.0
    second.after_step(1, tape(b"gh"))
    assert [name for name, _ in noted(claimed)["chunks"]] == [
        chunk("e1", 0),
        chunk("e1", 1),
        chunk("e2", 2),
    ]
    assert noted(claimed)["seconds"] == 30.0


def test_answers_of_another_model_are_not_gone_on_with(claimed: Runtime, clock: Clock) -> None:
    first = remembering(claimed)
    first.after_picture(0, picture(1))
    clock.passed_s = 10.0
    first.after_step(1, tape(b"ab"))
    other = remembering(claimed, source="another")
    assert (other.seconds, other.made(0), list(other.answers(0))) == (0.0, None, [])


def test_what_is_lost_ends_what_is_found(claimed: Runtime, clock: Clock) -> None:
    """Answers are of use from the first on without a gap."""
    first = remembering(claimed)
    for number in range(3):
        clock.passed_s += 10.0
        first.after_step(0, tape(b"%d" % number))
    claimed.blobs.delete(chunk("e1", 1))
    second = remembering(claimed)
    assert list(second.answers(0)) == [b"0"]
    clock.passed_s += 10.0
    second.after_step(0, tape(b"new"))
    assert noted(claimed)["chunks"] == [[chunk("e1", 0), 1], [chunk("e1", 1), 1]]
    assert claimed.blobs.get(chunk("e1", 1)) == b"new"


def test_a_picture_whose_pixels_are_lost_is_made_again(claimed: Runtime) -> None:
    remembering(claimed).after_picture(0, picture(1))
    claimed.blobs.delete(f"{ID}:pixels:0")
    memory = remembering(claimed)
    assert memory.made(0) is None
    memory.after_picture(0, picture(2))
    assert noted(claimed)["made"] == [[12, 2]]


def test_a_picture_is_stored_and_its_answers_are_dropped(claimed: Runtime, clock: Clock) -> None:
    memory = remembering(claimed)
    clock.passed_s = 10.0
    memory.after_step(0, tape(b"ab"))
    memory.after_picture(0, picture(1))
    assert blobs_of_answers(claimed) == []
    assert claimed.blobs.get(f"{ID}:pixels:0") == bytes([1]) * 768
    assert (noted(claimed)["made"], noted(claimed)["chunks"]) == ([[11, 1]], [])
    clock.passed_s = 30.0
    memory.save()  # there is no tape of another picture yet
    assert blobs_of_answers(claimed) == []


def test_the_last_picture_is_stored_at_the_end_and_its_answers_stay(
    claimed: Runtime, clock: Clock
) -> None:
    """The request may be taken over until then."""
    memory = remembering(claimed)
    memory.finish()  # nothing is there yet
    for index in (0, 1):
        memory.after_picture(index, picture(index))
    clock.passed_s = 10.0
    memory.after_step(2, tape(b"ab"))
    memory.after_picture(2, picture(2))
    assert claimed.blobs.get(f"{ID}:pixels:2") is None
    memory.finish()
    assert claimed.blobs.get(f"{ID}:pixels:2") == bytes([2]) * 768
    assert claimed.blobs.get(chunk("e1", 0)) == b"ab"
    left = cast(int, claimed.redis.ttl(f"blob:{ID}:pixels:2"))
    assert abs(left - cast(int, claimed.redis.ttl(f"req:{ID}"))) <= 1


def test_who_lost_the_request_leaves_no_answers(claimed: Runtime, clock: Clock) -> None:
    memory = remembering(claimed)
    claimed.requests.claim(ID, Stage.GENERATE, "another")
    clock.passed_s = 10.0
    with pytest.raises(LostClaim):
        memory.after_step(0, tape(b"ab"))
    assert blobs_of_answers(claimed) == []
    with pytest.raises(LostClaim):
        memory.after_picture(0, picture(1))
    assert noted(claimed) == {}

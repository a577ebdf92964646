"""A request whose worker dies is gone on with by the next one, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from app.core.leftovers import drop_leftovers
from app.core.record import Stage, Status, events_key
from models.checkpoints import Checkpoint, LoadedCheckpoint, load
from tests.support.pictures import astronaut
from worker import generate as job
from worker.progress import Progress
from worker.runtime import Runtime

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
    events = [fields for _, fields in context.redis.xrange(events_key(ID))]
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
        drop_leftovers(context.requests, context.blobs, request_id)
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

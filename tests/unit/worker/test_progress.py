"""The progress that a gpu worker reports for each step."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import wait
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.types import GenerationParameters, Source
from worker.meter import Device
from worker.progress import Progress
from worker.runtime import Runtime
from worker.stage import LostClaim

pytestmark = pytest.mark.torch

ID = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class StubPreview:
    """Stands for a PendingPreview: a picture of one grey level, ready once the device is."""

    level: int
    ready: threading.Event

    def picture(self) -> Image.Image:
        assert self.ready.wait(60)
        if self.level == BROKEN:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        return Image.new("RGB", (8, 6), (self.level,) * 3)


BROKEN = 255


@pytest.fixture
def device() -> threading.Event:
    """Set: the device has made every preview. A test clears it to let the device lag."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def context(worker_runtime: Runtime, device: threading.Event) -> Runtime:
    def preview(latents: Tensor) -> StubPreview:
        return StubPreview(int(latents.max()), device)

    checkpoint = SimpleNamespace(preview=preview)
    worker_runtime.checkpoint = checkpoint  # type: ignore[assignment]  # only what is read here
    return worker_runtime


def progress(context: Runtime, **params: Any) -> Progress:
    requests = context.requests
    requests.submit(ID, "a", GenerationParameters(**params), Source(), requests.expiry())
    requests.claim(ID, Stage.GENERATE, "mine")
    record = requests.get(ID)
    assert record is not None
    return Progress(context, record, "mine")


def last_event(context: Runtime) -> dict[bytes, bytes]:
    [(_, fields)] = context.redis.xrevrange(keys.request_events(ID), count=1)
    return dict(fields)


def test_a_request_without_preview_has_no_prediction_callback(context: Runtime) -> None:
    for params in ({}, {"preview": False}):
        reporter = progress(context, **params)
        assert reporter.on_prediction is None
        reporter.on_step(3, 20)
        assert last_event(context) == {b"event": b"step", b"step": b"3", b"steps": b"20"}
        context.requests.forget(ID)


def events(context: Runtime) -> list[tuple[int, Image.Image | None]]:
    """The step of each event, and its preview."""
    found: list[tuple[int, Image.Image | None]] = []
    for _, fields in context.redis.xrange(keys.request_events(ID)):
        if fields[b"event"] == b"step":
            uri = fields.get(b"preview", b"").decode()
            found.append((int(fields[b"step"]), decoded(uri) if uri else None))
    return found


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def level(picture: Image.Image | None) -> int:
    assert picture is not None
    return int(np.asarray(picture).mean().round())


def take_step(reporter: Progress, step: int, shade: int) -> None:
    assert reporter.on_prediction is not None
    reporter.on_prediction(torch.full((1, 16, 6, 8), float(shade)))
    reporter.on_step(step, 20)


def test_a_preview_comes_with_its_step(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    take_step(reporter, 1, 200)
    reporter.finish()
    [(step, picture)] = events(context)
    assert step == 1
    assert picture is not None
    expected = io.BytesIO()
    Image.new("RGB", (8, 6), (200,) * 3).save(expected, "JPEG", quality=75)
    assert (picture.format, picture.size) == ("JPEG", (8, 6))
    assert vars(picture)["quantization"] == vars(Image.open(expected))["quantization"]


def test_the_sampling_loop_does_not_wait_for_a_device_that_lags(
    context: Runtime, device: threading.Event
) -> None:
    """The previews come later, in order, each with its step, and the last one too."""
    device.clear()
    reporter = progress(context, preview=True)
    for step in (1, 2, 3):
        take_step(reporter, step, 50 * step)
    assert events(context) == []
    device.set()
    reporter.finish()
    assert [(step, level(picture)) for step, picture in events(context)] == [
        (1, 50),
        (2, 100),
        (3, 150),
    ]


def test_a_prediction_belongs_to_one_step(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    take_step(reporter, 1, 50)
    reporter.finish()
    reporter.on_step(2, 20)
    assert [(step, picture is None) for step, picture in events(context)] == [(1, False), (2, True)]


def test_without_previews_no_thread_is_started(context: Runtime) -> None:
    reporter = progress(context)
    reporter.on_step(1, 20)
    reporter.finish()
    assert not reporter._thread._threads


def test_an_error_of_the_previews_thread_is_raised_at_the_next_step(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    take_step(reporter, 1, BROKEN)
    wait([reporter._reports[0]])
    with pytest.raises(torch.AcceleratorError, match="unspecified launch failure"):
        take_step(reporter, 2, 50)


def test_an_error_of_the_last_preview_is_raised_at_the_end(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    take_step(reporter, 20, BROKEN)
    with pytest.raises(torch.AcceleratorError):
        reporter.finish()


def test_a_lost_request_with_previews_stops_at_the_step_after(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    context.requests.claim(ID, Stage.GENERATE, "another's")
    take_step(reporter, 1, 50)
    wait([reporter._reports[0]])
    with pytest.raises(LostClaim):
        take_step(reporter, 2, 50)


def test_the_meter_counts_each_step(context: Runtime) -> None:
    reporter = progress(context)
    context.meter.device = Device("demo", "card", lambda: (0, 0))
    with context.meter.working():
        for step in (1, 2, 3):
            reporter.on_step(step, 20)
    status = context.meter.status()
    assert status is not None
    assert status.steps_per_s == pytest.approx(3 / status.busy_s)


def test_a_content_filter_turns_previews_off(context: Runtime) -> None:
    context.settings = context.settings.model_copy(update={"content_filter": "a/classifier"})
    assert progress(context, preview=True).on_prediction is None


def test_a_step_of_a_lost_request_raises_lost_claim(context: Runtime) -> None:
    reporter = progress(context)
    context.requests.claim(ID, Stage.GENERATE, "another's")
    with pytest.raises(LostClaim):
        reporter.on_step(1, 20)

"""The progress that a gpu worker reports for each step."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.types import GenerationParameters, Source
from worker.meter import Device
from worker.progress import Progress
from worker.runtime import Runtime
from worker.stage import LostClaim

pytestmark = pytest.mark.torch

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    checkpoint = SimpleNamespace(preview=lambda _latents: Image.new("RGB", (8, 6), "red"))
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


def test_a_preview_comes_with_its_step(context: Runtime) -> None:
    reporter = progress(context, preview=True)
    assert reporter.on_prediction is not None
    reporter.on_prediction(torch.zeros(1, 16, 6, 8))
    reporter.on_step(1, 20)
    head, _, data = last_event(context)[b"preview"].decode().partition(",")
    assert head == "data:image/jpeg;base64"
    expected = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(expected, "JPEG", quality=75)
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (8, 6))
        assert picture.quantization == Image.open(expected).quantization


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

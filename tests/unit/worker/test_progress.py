"""What a gpu worker says of each step."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from app.core.redis import keys
from app.core.requests.record import Stage
from worker.meter import Device
from worker.progress import Progress
from worker.runtime import Runtime
from worker.stage import LostClaim

pytestmark = pytest.mark.torch

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    checkpoint = SimpleNamespace(preview=lambda _latents: Image.new("RGB", (8, 6), "red"))
    worker_runtime.checkpoint = checkpoint  # type: ignore[assignment]  # all that is looked at here
    return worker_runtime


def progress(context: Runtime, **params: object) -> Progress:
    requests = context.requests
    requests.submit(ID, "a", params, {}, requests.expiry())
    requests.claim(ID, Stage.GENERATE, "mine")
    record = requests.get(ID)
    assert record is not None
    return Progress(context, record, "mine")


def last_event(context: Runtime) -> dict[bytes, bytes]:
    [(_, fields)] = context.redis.xrevrange(keys.request_events(ID), count=1)
    return dict(fields)


def test_nobody_looks_unless_asked(context: Runtime) -> None:
    for params in ({}, {"preview": False}):
        told = progress(context, **params)
        assert told.on_seen is None
        told.on_step(3, 20)
        assert last_event(context) == {b"event": b"step", b"step": b"3", b"steps": b"20"}
        context.requests.forget(ID)


def test_a_preview_comes_with_its_step(context: Runtime) -> None:
    told = progress(context, preview=True)
    assert told.on_seen is not None
    told.on_seen(torch.zeros(1, 16, 6, 8))
    told.on_step(1, 20)
    head, _, data = last_event(context)[b"preview"].decode().partition(",")
    assert head == "data:image/jpeg;base64"
    expected = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(expected, "JPEG", quality=75)
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (8, 6))
        assert picture.quantization == Image.open(expected).quantization


def test_each_step_is_measured(context: Runtime) -> None:
    told = progress(context)
    context.meter.device = Device("demo", "card", lambda: (0, 0))
    with context.meter.working():
        for step in (1, 2, 3):
            told.on_step(step, 20)
    status = context.meter.status()
    assert status is not None
    assert status.steps_per_s == pytest.approx(3 / status.busy_s)


def test_nobody_sees_what_the_content_filter_has_not_judged(context: Runtime) -> None:
    context.settings = context.settings.model_copy(update={"content_filter": "a/classifier"})
    assert progress(context, preview=True).on_seen is None


def test_a_step_of_a_lost_request_is_the_last(context: Runtime) -> None:
    told = progress(context)
    context.requests.claim(ID, Stage.GENERATE, "another's")
    with pytest.raises(LostClaim):
        told.on_step(1, 20)

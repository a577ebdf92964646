"""The control map's file: stored early if prepare made the map, once, not for failed requests."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from app.core.errors import Cancelled
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import PrepareResult
from app.core.requests.types import GenerationParameters
from models.spec import Control
from tests.support.records import PARAMS, SOURCE
from worker.map_file import map_file, store_early
from worker.runtime import Runtime

ID = "d" * 32
NAME = f"{ID}:output:map"
PREPARED = PrepareResult(16, 16, work=1.0, profile="exact", annotated=True)
PIXELS = bytes(range(256)) * 3  # 16x16


def prepared(
    context: Runtime, params: GenerationParameters = PARAMS, **fields: Any
) -> RequestRecord:
    expires_at = context.requests.expiry()
    context.requests.submit(ID, "t", params, SOURCE, expires_at)
    context.requests.claim(ID, Stage.PREPARE, "e")
    result = replace(PREPARED, **fields)
    context.requests.advance(ID, Stage.PREPARE, "e", result)
    context.blobs.put(f"{ID}:control", PIXELS, expires_at)
    record = context.requests.get(ID)
    assert record is not None
    return record


def pixels_of(file: bytes) -> bytes:
    return Image.open(io.BytesIO(file)).tobytes()


def test_a_map_that_prepare_has_made_is_stored_early(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime)
    store_early(worker_runtime, ID)
    early = worker_runtime.blobs.get(NAME)
    assert early is not None
    assert pixels_of(early) == PIXELS
    worker_runtime.blobs.put(NAME, b"as it was", record.expires_at)
    assert map_file(worker_runtime, record, 0, Image.new("RGB", (16, 16))) == b"as it was"


def test_a_picture_that_still_needs_a_detector_is_not_stored_early(worker_runtime: Runtime) -> None:
    record = prepared(worker_runtime, annotated=False)
    store_early(worker_runtime, ID)
    assert worker_runtime.blobs.get(NAME) is None
    seen = Image.frombytes("RGB", (16, 16), PIXELS)
    assert pixels_of(map_file(worker_runtime, record, 0, seen)) == PIXELS


def test_of_several_maps_those_that_prepare_has_made_are_stored_early(
    worker_runtime: Runtime,
) -> None:
    params = replace(PARAMS, controls=(Control("pose"), Control("tile"), Control("canny")))
    record = prepared(worker_runtime, params, annotated=False, annotations=(False, True, True))
    for control in (1, 2):
        shade = bytes([control]) * len(PIXELS)
        worker_runtime.blobs.put(f"{ID}:control:{control}", shade, record.expires_at)
    store_early(worker_runtime, ID)
    assert worker_runtime.blobs.get(NAME) is None
    for control in (1, 2):
        file = map_file(worker_runtime, record, control, Image.new("RGB", (16, 16)))
        assert file == worker_runtime.blobs.get(f"{NAME}-{control}")
        assert pixels_of(file) == bytes([control]) * len(PIXELS)


def test_a_request_that_fails_during_store_early_leaves_no_file(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(worker_runtime)
    put = worker_runtime.blobs.put

    def put_and_cancelled(name: str, data: bytes, expires_at: float) -> None:
        put(name, data, expires_at)
        worker_runtime.requests.fail(ID, Cancelled())

    monkeypatch.setattr(worker_runtime.blobs, "put", put_and_cancelled)
    store_early(worker_runtime, ID)
    assert worker_runtime.blobs.get(NAME) is None

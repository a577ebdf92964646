"""A row of the history on the wire: every key and value."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from app.api.deps import Services
from app.api.wire.fields import schema_of
from app.api.wire.history import generation, models_list, request_row
from app.api.wire.requests import FluxControlNetBody
from app.core.history.base import HistoryRow, rows_of
from app.core.requests.record import Status
from tests.support.records import PARAMS, REQUEST_ID, record

ORIGIN = "https://pictures.corp"
INPUTS = {"image": "(base64)"} | PARAMS.to_body()
LIVING = 4_000_000_000.9


def row(**changes: Any) -> HistoryRow:
    """The second picture of a request that has not expired."""
    return replace(rows_of(record(expires_at=LIVING))[1], **changes)


def assert_link(url: object) -> None:
    path = re.escape(f"{ORIGIN}/files/{REQUEST_ID}/1.jpeg")
    assert re.fullmatch(rf"{path}\?exp=4000000000&sig=[0-9a-f]{{32}}", str(url))


@pytest.mark.usefixtures("far_from_utc")
def test_a_row_of_a_request(services: Services) -> None:
    serialized = dict(request_row(services.links, row(), ORIGIN))
    assert_link(serialized.pop("generation_url"))
    assert json.loads(str(serialized.pop("request_body"))) == INPUTS
    assert serialized == {
        "request_id": REQUEST_ID,
        "model_name": "flux-controlnet",
        "model_status": "COMPLETED",
        "credits_deduction": 5.5,
        "latency_ms": 15_250,
        "model_created": "2023-11-14T22:13:20.250Z",
        "model_updated": "2023-11-14T22:13:35.500Z",
        "error": None,
        "user_id": "team-a",
        "user_email": None,
        "output": 1,
        "seed": "652890",
        "file_name": "1.jpeg",
        "file_size": 1001,
        "content_type": "image/jpeg",
        "width": 520,
        "height": 264,
        "started_at": "2023-11-14T22:13:22.000Z",
        "metrics": {
            "inference_time": 13.0612345678,
            "queue_time": 1.75,
            "work_units": 5.5,
            "model_evaluations": 40,
            "profile": "fast",
        },
    }


@pytest.mark.usefixtures("far_from_utc")
def test_a_row_of_a_generation(services: Services) -> None:
    serialized = dict(generation(services.links, row(), ORIGIN))
    assert_link(serialized.pop("generation_url"))
    assert serialized == {
        "request_id": REQUEST_ID,
        "model_name": "flux-controlnet",
        "status": "COMPLETED",
        "credits_deduction": 5.5,
        "latency_ms": 15_250,
        "prompt": "an astronaut",
        "parameters": INPUTS,
        "created_at": "2023-11-14T22:13:20.250Z",
        "user_id": "team-a",
        "user_email": None,
    }


def test_a_row_without_a_picture_has_null_for_all_of_it(services: Services) -> None:
    [failed] = rows_of(record(status=Status.FAILED, error="no", outputs=(), inference_s=None))
    serialized = request_row(services.links, failed, ORIGIN)
    of_a_picture = ("generation_url", "seed", "file_name", "file_size", "content_type", "width")
    assert [serialized[name] for name in (*of_a_picture, "height")] == [None] * 7  # type: ignore[literal-required]  # names of a TypedDict
    assert (serialized["model_status"], serialized["error"], serialized["output"]) == (
        "FAILED",
        "no",
        0,
    )
    assert (serialized["credits_deduction"], serialized["metrics"]["inference_time"]) == (0.0, None)


def test_a_row_that_has_not_ended_is_pending(services: Services) -> None:
    queued = record(status=Status.QUEUED, outputs=(), started_at=None, ended_at=None)
    serialized = request_row(services.links, rows_of(queued)[0], ORIGIN)
    assert serialized["model_status"] == "PENDING"
    ends = (
        serialized["model_updated"],
        serialized["latency_ms"],
        serialized["started_at"],
        serialized["error"],
    )
    assert ends == (None, None, None, None)


def test_a_picture_that_has_expired_has_no_link(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: LIVING - 1)
    assert_link(request_row(services.links, row(), ORIGIN)["generation_url"])
    monkeypatch.setattr(time, "time", lambda: LIVING)
    assert request_row(services.links, row(), ORIGIN)["generation_url"] is None
    # A row of an older version.
    assert (
        request_row(services.links, row(picture_expires_at=None), ORIGIN)["generation_url"] is None
    )


def test_a_picture_that_outlives_its_record_has_a_link(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlived = row(expires_at=LIVING - 600_000, picture_expires_at=LIVING)
    monkeypatch.setattr(time, "time", lambda: LIVING - 1)
    assert_link(request_row(services.links, outlived, ORIGIN)["generation_url"])
    assert_link(generation(services.links, outlived, ORIGIN)["generation_url"])
    monkeypatch.setattr(time, "time", lambda: LIVING)
    assert request_row(services.links, outlived, ORIGIN)["generation_url"] is None


@pytest.mark.parametrize(("seconds", "latency_ms"), [(0.0004, 0), (0.0006, 1), (2.0, 2000)])
def test_a_latency_is_in_whole_milliseconds(
    services: Services, seconds: float, latency_ms: int
) -> None:
    ended = row(created_at=1000.0, ended_at=1000.0 + seconds)
    assert request_row(services.links, ended, ORIGIN)["latency_ms"] == latency_ms
    assert generation(services.links, ended, ORIGIN)["latency_ms"] == latency_ms


def test_there_is_one_model() -> None:
    assert models_list([]) == {
        "models": [
            {
                "model_name": "flux-controlnet",
                "slug": "flux-controlnet",
                "name": "FLUX ControlNet",
                "description": "FLUX.1-dev with a Union ControlNet: canny, depth, pose and tile.",
                "endpoints": ["/v1/flux-controlnet", "/v2/flux-controlnet"],
                "parameters": schema_of(FluxControlNetBody),
            }
        ],
        "loras": [],
    }

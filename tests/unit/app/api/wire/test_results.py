"""A record as the bodies of the wire: every key, every value, and nothing else."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from app.api.deps import Services
from app.api.wire.results import (
    encoded_outputs,
    failed_body,
    file_link,
    metrics,
    output_bytes,
    poll_body,
    poll_failed,
    result_body,
    rounded,
    status_body,
    submitted_body,
)
from app.core.errors import NotFound
from app.core.queueing.forecast import Forecast, GpuWorkers, Place
from app.core.queueing.throughput import Throughput
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import StoredPicture
from models.spec import Control, Lora
from tests.support.records import CONTROL_MAP, PARAMS, REQUEST_ID, output, record

ORIGIN = "https://pictures.corp/api"
URL = f"{ORIGIN}/v2/requests/{REQUEST_ID}"
POLL_URL = f"{ORIGIN}/v1/requests/{REQUEST_ID}"
FORECAST = Forecast(
    Throughput({"fast": 2.0}, delivery_s=0.5, work=5.5),
    {REQUEST_ID: Place(3, 12.34567)},
    next_position=4,
    next_start_s=None,
)
QUEUED = record(status=Status.QUEUED, started_at=None, ended_at=None, outputs=(), step=0)
PROCESSING = record(
    status=Status.PROCESSING, stage=Stage.GENERATE, ended_at=None, outputs=(), step=5
)
FAILED = record(
    status=Status.FAILED,
    error="image: no",
    error_status=400,
    outputs=(),
    inference_s=None,
    started_at=None,
)


def signed(name: str) -> str:
    """A link to a file of the record that lives as long as the record."""
    path = re.escape(f"{ORIGIN}/files/{REQUEST_ID}/{name}")
    return rf"{path}\?exp=1700003600&sig=[0-9a-f]{{32}}"


def test_a_submission_is_answered_with_five_keys() -> None:
    assert submitted_body(REQUEST_ID, ORIGIN) == {
        "request_id": REQUEST_ID,
        "status": "QUEUED",
        "poll_url": POLL_URL,
        "status_url": f"{URL}/status",
        "response_url": URL,
    }


def test_the_status_of_a_queued_request_has_its_place() -> None:
    expected: dict[str, Any] = {
        "status": "QUEUED",
        "request_id": REQUEST_ID,
        "status_url": f"{URL}/status",
        "response_url": URL,
        "metrics": {},
    }
    assert status_body(QUEUED, ORIGIN, None) == expected
    expected |= {"queue_position": 3, "eta_seconds": 12.346}
    assert status_body(QUEUED, ORIGIN, FORECAST) == expected


def test_the_status_of_a_request_that_is_made_has_its_progress() -> None:
    expected: dict[str, Any] = {
        "status": "PROCESSING",
        "request_id": REQUEST_ID,
        "status_url": f"{URL}/status",
        "response_url": URL,
        "metrics": {},
        "progress": {"step": 5, "steps": 20},
    }
    assert status_body(PROCESSING, ORIGIN, None) == expected
    # A quarter is done of 5.5 work units of 2 s, and half a second of delivery comes after them.
    forecast = replace(FORECAST, places={})
    assert status_body(PROCESSING, ORIGIN, forecast) == expected | {"eta_seconds": 8.75}


def test_a_request_whose_worker_died_has_the_time_of_its_place() -> None:
    assert status_body(PROCESSING, ORIGIN, FORECAST).get("eta_seconds") == 12.346


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (GpuWorkers.READY, {}),
        (GpuWorkers.STARTING, {"gpu_worker": "starting"}),
        (GpuWorkers.ABSENT, {"gpu_worker": "absent"}),
    ],
)
def test_a_status_says_whether_a_worker_will_come(
    workers: GpuWorkers, expected: dict[str, str]
) -> None:
    ready = status_body(QUEUED, ORIGIN, FORECAST)
    assert status_body(QUEUED, ORIGIN, replace(FORECAST, workers=workers)) == ready | expected


def test_the_status_of_a_completed_request_has_its_metrics() -> None:
    body = status_body(record(), ORIGIN, None)
    assert body.keys() == {"status", "request_id", "status_url", "response_url", "metrics"}
    assert (body["status"], body["metrics"]) == ("COMPLETED", metrics(record()))


def test_a_failed_request_has_four_keys_and_one_sentence() -> None:
    expected = {
        "status": "FAILED",
        "request_id": REQUEST_ID,
        "error": "image: no",
        "metrics": {"inference_time": 0.0, "queue_time": 15.25, "work_units": 5.5},
    }
    assert failed_body(FAILED) == expected
    assert status_body(FAILED, ORIGIN, FORECAST) == expected


@pytest.mark.parametrize("unfinished", [QUEUED, PROCESSING])
def test_there_are_no_metrics_until_the_end(unfinished: RequestRecord) -> None:
    assert metrics(unfinished) == {}


def test_metrics_are_rounded_to_microseconds() -> None:
    assert metrics(record()) == {
        "inference_time": 13.061235,
        "queue_time": 1.75,
        "work_units": 5.5,
        "total_time": 15.25,
        "cost": 5.5,
        "remaining_credits": 94.5,
        "model_evaluations": 40,
        "controlled_evaluations": 20,
        "profile": "fast",
    }
    exact = record(started_at=1_700_000_000.2500014, ended_at=1_700_000_000.2500024)
    assert (metrics(exact)["queue_time"], metrics(exact)["total_time"]) == (1e-06, 2e-06)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, None), (0.0, 0.0), (1.23449, 1.234), (1.23451, 1.235)]
)
def test_an_estimate_is_rounded_to_milliseconds(seconds: float | None, shown: float | None) -> None:
    assert rounded(seconds) == shown


def test_a_result_has_links_to_all_its_pictures(services: Services) -> None:
    body = result_body(services.links, services.blobs, record(), ORIGIN)
    first, second = body["images"]
    assert re.fullmatch(signed("0.jpeg"), first["url"])
    assert re.fullmatch(signed("1.jpeg"), second["url"])
    assert first == {
        "url": first["url"],
        "content_type": "image/jpeg",
        "file_name": "0.jpeg",
        "file_size": 1000,
        "width": 520,
        "height": 264,
        "seed": "652889",
    }
    assert second["seed"] == "652890"
    assert body == {
        "status": "COMPLETED",
        "error": None,
        "request_id": REQUEST_ID,
        "output": first["url"],
        "images": [first, second],
        "seed": "652889",
        "prompt": "an astronaut",
        "timings": {"inference": 13.0612345678},
        "metrics": metrics(record()),
    }


def test_a_result_links_the_control_map_that_was_kept(services: Services) -> None:
    body = result_body(services.links, services.blobs, record(control_map=CONTROL_MAP), ORIGIN)
    link = body["control_map"].pop("url")  # type: ignore[misc]  # a copy of ours
    assert re.fullmatch(signed("map.png"), link)
    assert body["control_map"] == {
        "content_type": "image/png",
        "file_name": "map.png",
        "file_size": 77,
        "width": 528,
        "height": 272,
    }


@pytest.mark.parametrize("further", [(), (replace(CONTROL_MAP, file_name="map-1.png"),)])
def test_a_result_of_a_list_of_controls_links_all_maps(
    services: Services, further: tuple[StoredPicture, ...]
) -> None:
    params = replace(PARAMS, controls=(Control("canny"),) * (1 + len(further)))
    of = record(params=params, control_map=CONTROL_MAP, further_maps=further)
    body = result_body(services.links, services.blobs, of, ORIGIN)
    assert body["control_map"] == body["control_maps"][0]
    names = [control_map["file_name"] for control_map in body["control_maps"]]
    assert names == ["map.png", "map-1.png"][: 1 + len(further)]
    for name, control_map in zip(names, body["control_maps"], strict=True):
        assert re.fullmatch(signed(name), control_map["url"])
    lost = replace(of, control_map=None, further_maps=())
    assert "control_maps" not in result_body(services.links, services.blobs, lost, ORIGIN)


@pytest.mark.parametrize("samples", [1, 2])
def test_base64_is_one_text_or_a_list(services: Services, samples: int) -> None:
    """In the place of the link; the links to the files are there as well."""
    files = [b"first", b"second"][:samples]
    for number, data in enumerate(files):
        services.blobs.put(f"{REQUEST_ID}:output:{number}", data, services.requests.expiry())
    outputs = tuple(output(number) for number in range(samples))
    encoded = record(params=replace(PARAMS, base64=True), outputs=outputs)
    texts = [base64.b64encode(data).decode() for data in files]
    assert encoded_outputs(services.blobs, encoded) == texts
    body = result_body(services.links, services.blobs, encoded, ORIGIN)
    assert body["output"] == (texts if samples > 1 else texts[0])
    assert re.fullmatch(signed("0.jpeg"), body["images"][0]["url"])
    assert output_bytes(services.blobs, encoded, samples - 1) == files[-1]


def test_a_picture_whose_bytes_have_expired_is_404(services: Services) -> None:
    with pytest.raises(NotFound, match=f"^Request {REQUEST_ID} not found$"):
        output_bytes(services.blobs, record(), 0)


def test_the_older_protocol_has_status_and_output(services: Services) -> None:
    assert poll_body(services.links, QUEUED, ORIGIN) == {
        "status": "QUEUED",
        "request_id": REQUEST_ID,
        "output": "",
        "message": "Your request is queued",
        "poll_url": POLL_URL,
    }
    assert poll_body(services.links, PROCESSING, ORIGIN) == {
        "status": "PROCESSING",
        "request_id": REQUEST_ID,
        "output": "",
    }
    ended = poll_body(services.links, record(), ORIGIN)
    assert re.fullmatch(signed("0.jpeg"), ended["output"])
    assert ended == {"status": "COMPLETED", "request_id": REQUEST_ID, "output": ended["output"]}
    assert poll_failed(FAILED) == {
        "status": "FAILED",
        "request_id": REQUEST_ID,
        "output": "",
        "error": "image: no",
        "error_message": {"error": "image: no"},
    }


@pytest.mark.parametrize(
    "expiries",
    [
        {"expires_at": 4_000_000_000.9},
        {"expires_at": 3_999_000_000.0, "outputs_expire_at": 4_000_000_000.0},
    ],
)
def test_a_link_opens_a_file_until_the_file_expires(
    services: Services, expiries: dict[str, float]
) -> None:
    link = file_link(services.links, record(**expiries), "0.jpeg", "")
    path, _, query = link.partition("?exp=")
    expires_at, _, signature = query.partition("&sig=")
    assert (path, expires_at) == (f"/files/{REQUEST_ID}/0.jpeg", "4000000000")
    assert services.links.valid(path, expires_at, signature)


def test_the_metrics_of_a_picture_have_its_loras() -> None:
    params = replace(PARAMS, loras=(Lora("ink", 0.5, "ab"), Lora("oil", 1.0, "cd")))
    assert metrics(record(params=params)) == {
        **metrics(record()),
        "loras": [
            {"name": "ink", "scale": 0.5, "sha256": "ab"},
            {"name": "oil", "scale": 1.0, "sha256": "cd"},
        ],
    }
    assert "loras" not in metrics(record())
    assert metrics(replace(FAILED, params=params)) == metrics(FAILED)

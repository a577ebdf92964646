"""Submit, status, result and cancel: which status and which body at each stage of a request."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.api.deps import Services
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.errors import GenerationFailed, ImageRejected
from app.core.requests.record import Status
from tests.support.records import PARAMS, REQUEST_ID, begun, completed, failed, queued
from tests.support.wire import V2

BODY = {"image": "aGVsbG8=", "prompt": "x"}
URL = f"/v2/requests/{REQUEST_ID}"
HERE = "http://localhost:8000"
NOT_FOUND = {"error": f"Request {REQUEST_ID} not found"}


def test_a_submission_is_answered_with_its_urls(api: TestClient, inside: Services) -> None:
    answer = api.post(V2, json=BODY)
    assert answer.status_code == 200
    request_id = answer.json()["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert answer.json() == {
        "request_id": request_id,
        "status": "QUEUED",
        "poll_url": f"{HERE}/v1/requests/{request_id}",
        "status_url": f"{HERE}/v2/requests/{request_id}/status",
        "response_url": f"{HERE}/v2/requests/{request_id}",
    }
    record = inside.requests.get(request_id)
    assert record is not None
    assert (record.owner, record.status) == ("team-a", Status.QUEUED)


def test_an_ipv6_host_keeps_its_brackets_in_all_urls(api: TestClient) -> None:
    made = api.post(V2, json=BODY, headers={"host": "[::1]:8000"}).json()
    for name in ("poll_url", "status_url", "response_url"):
        assert made[name].startswith("http://[::1]:8000/v")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"prompt": "x"}, 400),
        ({**BODY, "steps": 14}, 400),
        ({**BODY, "sampler": "nope"}, 400),
        ({**BODY, "image": "https://user@a.example/a.png"}, 200),  # found out when it is fetched
        ({**BODY, "timeout": 7, "interval": 4}, 200),
    ],
)
def test_a_body_is_judged_before_it_is_queued(
    api: TestClient, fields: dict[str, Any], status: int
) -> None:
    answer = api.post(V2, json=fields)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} or status == 200


def test_a_queued_request_has_a_place(api: TestClient, inside: Services) -> None:
    queued(inside.requests)
    expected = {
        "status": "QUEUED",
        "request_id": REQUEST_ID,
        "status_url": f"{HERE}{URL}/status",
        "response_url": f"{HERE}{URL}",
        "metrics": {},
        "queue_position": 1,
        "eta_seconds": None,
        "gpu_worker": "absent",
    }
    for path in (f"{URL}/status", URL):
        answer = api.get(path)
        assert (answer.status_code, answer.json()) == (200, expected)


def test_a_request_that_is_made_has_its_progress(api: TestClient, inside: Services) -> None:
    begun(inside.requests)
    inside.requests.progress(REQUEST_ID, "e", 3, 20)
    for path in (f"{URL}/status", URL):
        answer = api.get(path)
        assert answer.status_code == 200
        assert answer.json()["status"] == "PROCESSING"
        assert answer.json()["progress"] == {"step": 3, "steps": 20}
        assert "queue_position" not in answer.json()


def test_a_completed_request_has_metrics_and_then_its_pictures(
    api: TestClient, inside: Services
) -> None:
    completed(inside.requests)
    status = api.get(f"{URL}/status")
    assert (status.status_code, status.json()["status"]) == (200, "COMPLETED")
    assert "images" not in status.json()
    assert "eta_seconds" not in status.json()
    result = api.get(URL)
    assert (result.status_code, result.json()["status"]) == (200, "COMPLETED")
    assert result.json()["metrics"] == status.json()["metrics"]
    links = [image["url"] for image in result.json()["images"]]
    assert result.json()["output"] == links[0]
    assert all(link.startswith(f"{HERE}/files/{REQUEST_ID}/") for link in links)


def test_base64_without_bytes_is_404(api: TestClient, inside: Services) -> None:
    completed(inside.requests, params=replace(PARAMS, base64=True))
    answer = api.get(URL)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


def test_a_failed_request_is_422_on_both(api: TestClient, inside: Services) -> None:
    failed(inside.requests, ImageRejected("image: no"))
    for path in (f"{URL}/status", URL):
        answer = api.get(path)
        assert answer.status_code == 422
        metrics = answer.json().pop("metrics")
        assert metrics.keys() == {"inference_time", "queue_time", "work_units"}
        assert answer.json() | {"metrics": {}} == {
            "status": "FAILED",
            "request_id": REQUEST_ID,
            "error": "image: no",
            "metrics": {},
        }


@pytest.mark.parametrize("path", [URL, f"{URL}/status", f"/v1/requests/{REQUEST_ID}"])
def test_a_request_of_another_key_is_404(
    api: TestClient, inside: Services, redis: Redis, path: str
) -> None:
    assert (api.get(path).status_code, api.get(path).json()) == (404, NOT_FOUND)
    completed(inside.requests)
    assert api.get(path).status_code == 200
    foreign = {"x-api-key": KeyStore(redis).create("team-b", Terms())[0]}
    answer = api.get(path, headers=foreign)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    of_the_team = {"x-api-key": KeyStore(redis).create("team-a", Terms())[0]}
    assert api.get(path, headers=of_the_team).status_code == 200
    assert api.get(path, headers={"x-api-key": "SG_0"}).status_code == 401
    assert api.get(path, headers={"x-api-key": ""}).status_code == 401


@pytest.mark.parametrize(
    "request_id", ["x", "A" * 32, "a" * 31, "a" * 33, REQUEST_ID.upper(), "a" * 100]
)
def test_a_malformed_request_id_is_404(api: TestClient, request_id: str) -> None:
    answer = api.get(f"/v2/requests/{request_id}/status")
    assert answer.status_code == 404
    assert answer.json() == {"error": f"Request {request_id[:64]} not found"}


# ---- cancel


@pytest.mark.parametrize("reached", [queued, begun])
def test_a_running_request_is_cancelled(api: TestClient, inside: Services, reached: Any) -> None:
    reached(inside.requests)
    for _ in range(2):
        answer = api.delete(URL)
        assert answer.status_code == 200
        assert answer.json()["status"] == "FAILED"
        assert answer.json()["error"] == "cancelled"
    assert api.get(URL).status_code == 422


def test_a_request_that_has_ended_stays_as_it_ended(api: TestClient, inside: Services) -> None:
    completed(inside.requests)
    answer = api.delete(URL)
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
    failed(inside.requests, GenerationFailed(), "f" * 32)
    answer = api.delete(f"/v2/requests/{'f' * 32}")
    assert answer.status_code == 200
    assert answer.json()["error"] == "The picture could not be generated"


def test_a_request_that_expires_while_it_is_cancelled_is_404(
    api: TestClient, inside: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued(inside.requests)

    def expires(*_: object, **__: object) -> None:
        inside.requests.forget(REQUEST_ID)

    monkeypatch.setattr("app.api.endpoints.v2.cancel", expires)
    answer = api.delete(URL)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


def test_another_key_cannot_cancel_a_request(api: TestClient, inside: Services) -> None:
    queued(inside.requests, owner="team-b")
    assert api.delete(URL).status_code == 404
    record = inside.requests.get(REQUEST_ID)
    assert record is not None
    assert record.status is Status.QUEUED


# ---- the older protocol


def test_the_older_protocol_reports_every_stage(api: TestClient, inside: Services) -> None:
    path = f"/v1/requests/{REQUEST_ID}"
    queued(inside.requests)
    assert api.get(path).json() == {
        "status": "QUEUED",
        "request_id": REQUEST_ID,
        "output": "",
        "message": "Your request is queued",
        "poll_url": f"{HERE}{path}",
    }
    inside.requests.fail(REQUEST_ID, GenerationFailed())
    answer = api.get(path)
    assert answer.status_code == 422
    assert answer.json() == {
        "status": "FAILED",
        "request_id": REQUEST_ID,
        "output": "",
        "error": "The picture could not be generated",
        "error_message": {"error": "The picture could not be generated"},
    }
    completed(inside.requests, "f" * 32)
    ended = api.get(f"/v1/requests/{'f' * 32}").json()
    assert ended.keys() == {"status", "request_id", "output"}
    assert ended["output"].startswith(f"{HERE}/files/{'f' * 32}/0.jpeg?exp=")

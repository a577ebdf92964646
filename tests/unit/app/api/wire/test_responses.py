"""The keys of each answer, as clients and /openapi.json know them, and what is made with them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.wire import responses as answers
from app.api.wire.responses import UserCredits
from app.api.wire.results import metrics, status_body, submitted_body
from app.core.receipts import receipt_of
from app.core.requests.record import Status
from tests.support.records import CONTROL_MAP, REQUEST_ID, record

KEYS = {
    "ErrorResponse": ("error", "request_id"),
    "Submitted": ("request_id status poll_url status_url response_url", ""),
    "Progress": ("step steps", ""),
    "Metrics": (
        "",
        "inference_time queue_time work_units total_time cost remaining_credits model_evaluations "
        "controlled_evaluations profile loras",
    ),
    "AppliedLora": ("name scale sha256", ""),
    "StatusResponse": (
        "status request_id status_url response_url metrics",
        "progress queue_position eta_seconds gpu_worker warnings",
    ),
    "FailedResponse": ("status request_id error metrics", "warnings"),
    "ControlMap": ("url content_type file_name file_size width height", ""),
    "Timings": ("inference", ""),
    "ResultResponse": (
        "status error request_id output images seed prompt timings metrics",
        "control_map control_maps warnings",
    ),
    "WarningBody": ("code parameter message", ""),
    "ReceiptMap": ("file_name width height sha256 pixels_sha256 url", ""),
    "ReceiptPicture": ("file_name width height sha256 pixels_sha256 seed", ""),
    "Receipt": (
        "request_id created_at ended_at parameters width height evaluations controlled checkpoint "
        "weights device dtype mu sigmas_sha256 versions control_map outputs",
        "control_maps",
    ),
    "Signature": ("algorithm value", ""),
    "ReceiptResponse": ("receipt signature", ""),
    "PollResponse": ("status request_id output", "message poll_url"),
    "PollFailed": ("status request_id output error error_message", ""),
    "EncodedPictures": ("image status infer_time outputs image_format", "profile"),
    "UserCredits": ("credits free-credits unlimited", ""),
    "KeyResponse": (
        "id name created expires last_used credits spent spent_by_month rpm concurrency admin "
        "webhook_url",
        "",
    ),
    "NewKey": (
        "id name created expires last_used credits spent spent_by_month rpm concurrency admin "
        "webhook_url key",
        "",
    ),
    "KeyList": ("keys", ""),
    "UsageReport": ("usage", ""),
    "Revoked": ("revoked", ""),
    "Balance": ("id credits", ""),
    "Liveness": ("status", ""),
    "Readiness": ("status checks", ""),
    "Picture": ("url content_type file_name file_size width height seed", ""),
}
"""Required and optional ones."""


def adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(getattr(answers, name))


@pytest.mark.parametrize(("name", "keys"), KEYS.items())
def test_an_answer_has_its_keys(name: str, keys: tuple[str, str]) -> None:
    schema = adapter(name).json_schema()
    required, optional = (set(every.split()) for every in keys)
    assert set(schema.get("required", [])) == required
    assert set(schema["properties"]) == required | optional


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("Submitted", "status", ["QUEUED"]),
        ("StatusResponse", "status", ["QUEUED", "PROCESSING", "COMPLETED"]),
        ("FailedResponse", "status", ["FAILED"]),
        ("ResultResponse", "status", ["COMPLETED"]),
        ("PollResponse", "status", ["QUEUED", "PROCESSING", "COMPLETED"]),
        ("PollFailed", "status", ["FAILED"]),
        ("EncodedPictures", "status", ["Success"]),
        ("Signature", "algorithm", ["HMAC-SHA256"]),
        ("Liveness", "status", ["alive"]),
        ("Readiness", "status", ["ready", "not ready"]),
    ],
)
def test_a_word_is_one_of_those_that_clients_know(name: str, key: str, words: list[str]) -> None:
    described = adapter(name).json_schema()["properties"][key]
    assert described.get("enum", [described.get("const")]) == words


def test_there_are_four_words_for_where_a_request_stands() -> None:
    assert [str(word) for word in Status] == ["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]
    assert [word for word in Status if word.terminal] == [Status.COMPLETED, Status.FAILED]


def test_a_result_has_the_announced_fields() -> None:
    made = record(control_map=CONTROL_MAP)
    failed = record(status=Status.FAILED, error="no")
    for name, body in (
        ("Submitted", submitted_body(REQUEST_ID, "http://localhost")),
        ("StatusResponse", status_body(made, "http://localhost", None)),
        ("FailedResponse", status_body(failed, "http://localhost", None)),
        ("Metrics", metrics(made)),
        ("Receipt", receipt_of(made, ["http://localhost/map"])),
        ("Receipt", receipt_of(record(), [])),
        ("UserCredits", UserCredits({"credits": 1.0, "free-credits": 0.0, "unlimited": False})),
    ):
        assert adapter(name).validate_python(body) == body
        with pytest.raises(ValidationError):
            adapter(name).validate_python({**body, next(iter(body)): object()})

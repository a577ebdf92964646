"""What the document says of each endpoint: its answers, bodies, parameters, and who may call it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import VERSION
from app.api.wire.fields import schema_of
from app.api.wire.openai import is_openai_path
from app.api.wire.requests import FluxControlNetBody, PreprocessBody

ALWAYS = {"200", "400", "408", "431", "500", "501", "503"}
SCHEMAS = "#/components/schemas"
RAW = ("408", "431", "501")
"""Of requests whose path is not known yet."""

SUBMISSION = "401 402 406 409 413 415 429"
REQUEST = "/v2/requests/{request_id}"
HISTORY = "/inference-request"

ANSWERS = {
    "POST /v1/flux-controlnet": f"{SUBMISSION} 422 504",
    "POST /v2/flux-controlnet": SUBMISSION,
    "POST /v1/flux-controlnet/preprocess": f"{SUBMISSION} 504",
    "POST /v1/images/edits": f"{SUBMISSION} 422 504",
    "POST /v1/images/generations": f"{SUBMISSION} 422 504",
    "GET /v1/models": "401",
    "GET /v1/models/{model}": "401 404",
    "GET /v1/requests/{request_id}": "401 404 422",
    f"GET {REQUEST}/status": "401 404 422",
    f"GET {REQUEST}": "401 404 422",
    f"DELETE {REQUEST}": "401 404",
    f"GET {REQUEST}/receipt": "401 404",
    f"GET {REQUEST}/events": "204 401 404",
    f"GET {REQUEST}/webhook": "401 404",
    "GET /v2/webhooks/secret": "401",
    "POST /v2/webhooks/secret/rotate": "401",
    "GET /v1/get-user-credits": "401",
    "GET /admin/keys": "401 403",
    "POST /admin/keys": "401 403 413 415",
    "DELETE /admin/keys/{key_id}": "401 403 404",
    "POST /admin/keys/{key_id}/credits": "401 403 404 413 415",
    "GET /admin/usage": "401 403",
    "POST /upload-asset": SUBMISSION,
    f"GET {HISTORY}/request-history": "401",
    f"GET {HISTORY}/request-history/{{request_id}}": "401 404",
    f"GET {HISTORY}/generations": "401",
    f"GET {HISTORY}/recent-generations": "401",
    "GET /inference-model-information/list": "401",
    "GET /files/{request_id}/{file_name}": "404",
    "GET /uploads/{file_name}": "404",
    "GET /health/live": "",
    "GET /health/ready": "",
    "GET /metrics": "",
}
"""Beside those that every endpoint may give."""

BODIES = {
    "POST /v1/flux-controlnet": ("application/json", "multipart/form-data"),
    "POST /v2/flux-controlnet": ("application/json", "multipart/form-data"),
    "POST /v1/flux-controlnet/preprocess": ("application/json", "multipart/form-data"),
    "POST /v1/images/edits": ("application/json", "multipart/form-data"),
    "POST /v1/images/generations": ("application/json", "multipart/form-data"),
    "POST /upload-asset": ("application/json",),
    "POST /admin/keys": ("application/json",),
    "POST /admin/keys/{key_id}/credits": ("application/json",),
}

PARAMETERS = {
    "POST /v1/flux-controlnet": "Idempotency-Key",
    "POST /v2/flux-controlnet": "Idempotency-Key",
    "POST /v1/flux-controlnet/preprocess": "Idempotency-Key",
    "POST /v1/images/edits": "Idempotency-Key",
    "POST /v1/images/generations": "Idempotency-Key",
    f"GET {REQUEST}/events": "last-event-id",
    "GET /files/{request_id}/{file_name}": "exp sig",
    "GET /uploads/{file_name}": "exp sig",
    "GET /admin/usage": "from to group_by format",
    f"GET {HISTORY}/request-history": (
        "page per_page from_date to_date model_name status user_id user_email sort_by sort_order"
    ),
    f"GET {HISTORY}/generations": "page model_name start_date end_date user_id",
    f"GET {HISTORY}/recent-generations": "model_name",
}
"""Of headers and queries."""

OPEN = ("/files/", "/uploads/", "/health/", "/metrics")


@pytest.fixture(scope="module")
def document(running: TestClient) -> dict[str, Any]:
    return dict(running.get("/openapi.json").json())


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def answer(operations: dict[str, Any], operation: str, status: int) -> Any:
    return operations[operation]["responses"][str(status)]


def test_every_endpoint_has_all_its_answers(operations: dict[str, Any]) -> None:
    found = {name: set(operation["responses"]) for name, operation in operations.items()}
    assert found == {name: ALWAYS | set(more.split()) for name, more in ANSWERS.items()}


def test_every_endpoint_has_its_bodies(operations: dict[str, Any]) -> None:
    found = {
        name: tuple(operation["requestBody"]["content"])
        for name, operation in operations.items()
        if "requestBody" in operation
    }
    assert found == BODIES
    assert all(operations[name]["requestBody"]["required"] for name in BODIES)


def test_every_endpoint_has_its_parameters(operations: dict[str, Any]) -> None:
    found = {
        name: [one for one in operation.get("parameters", []) if one["in"] != "path"]
        for name, operation in operations.items()
    }
    named = {name: " ".join(one["name"] for one in every) for name, every in found.items() if every}
    assert named == PARAMETERS
    needed = {name for name, every in found.items() if any(one["required"] for one in every)}
    assert needed == {f"GET {HISTORY}/recent-generations"}


def test_a_key_may_be_sent_in_two_ways(
    document: dict[str, Any], operations: dict[str, Any]
) -> None:
    assert document["components"]["securitySchemes"] == {
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    for name, operation in operations.items():
        open_to_all = name.partition(" ")[2].startswith(OPEN)
        ways = None if open_to_all else [{"APIKeyHeader": []}, {"Bearer": []}]
        assert operation.get("security") == ways, name


def test_every_refusal_is_an_error_answer(operations: dict[str, Any]) -> None:
    error = {"$ref": f"{SCHEMAS}/ErrorResponse"}
    of_their_own = {
        *((f"GET {REQUEST}{path}", "422") for path in ("", "/status")),
        ("GET /v1/requests/{request_id}", "422"),
        ("GET /health/ready", "503"),
    }
    for name, operation in operations.items():
        for status, described in operation["responses"].items():
            if status >= "400" and (name, status) not in of_their_own:
                openai = is_openai_path(name.partition(" ")[2]) and status not in RAW
                expected = {"$ref": f"{SCHEMAS}/OpenAIErrorResponse"} if openai else error
                content = described["content"]["application/json"]["schema"]
                assert content == expected, (name, status)
                assert described["description"]


def test_a_failed_request_has_a_shape_of_its_own(operations: dict[str, Any]) -> None:
    for name, model in (
        (f"GET {REQUEST}", "FailedResponse"),
        (f"GET {REQUEST}/status", "FailedResponse"),
        ("GET /v1/requests/{request_id}", "PollFailed"),
    ):
        content = answer(operations, name, 422)["content"]["application/json"]["schema"]
        assert content == {"$ref": f"#/components/schemas/{model}"}


def test_the_errors_of_the_framework_are_not_announced(document: dict[str, Any]) -> None:
    assert "ValidationError" not in str(document)


@pytest.mark.parametrize(
    ("operation", "types"),
    [
        (
            "POST /v1/flux-controlnet",
            {"image/jpeg", "image/png", "image/webp", "application/json"},
        ),
        ("POST /v1/flux-controlnet/preprocess", {"image/png"}),
        ("GET /files/{request_id}/{file_name}", {"image/jpeg", "image/png", "image/webp"}),
        (
            "GET /uploads/{file_name}",
            {f"image/{kind}" for kind in "jpeg png webp gif bmp tiff avif heic heif".split()},
        ),
        ("GET /metrics", {"text/plain"}),
        (f"GET {REQUEST}/events", {"text/event-stream"}),
        ("POST /v2/flux-controlnet", {"application/json"}),
    ],
)
def test_responses_that_are_no_json_have_their_content_types(
    operations: dict[str, Any], operation: str, types: set[str]
) -> None:
    content = answer(operations, operation, 200)["content"]
    assert set(content) == types
    binary = {"schema": {"type": "string", "format": "binary"}}
    assert all(content[name] == binary for name in types if name.startswith("image/"))


def test_the_headers_of_a_picture_are_announced(operations: dict[str, Any]) -> None:
    headers = answer(operations, "POST /v1/flux-controlnet", 200)["headers"]
    names = {"x-request-id", "x-generation-time", "x-seed-value", "x-output-count"}
    assert set(headers) == names | {"x-warnings"}
    headers = answer(operations, "POST /v1/flux-controlnet/preprocess", 200)["headers"]
    assert set(headers) == {"x-request-id", "x-output-metadata", "x-warnings"}


def test_a_picture_may_be_a_file_in_a_form(operations: dict[str, Any]) -> None:
    file = {"type": "string", "format": "binary", "minLength": 1}
    file["description"] = "The picture as a file."
    for path, kind, pictures in (
        ("/v2/flux-controlnet", FluxControlNetBody, {"image", "control_image"}),
        ("/v1/flux-controlnet", FluxControlNetBody, {"image", "control_image"}),
        ("/v1/flux-controlnet/preprocess", PreprocessBody, {"image"}),
    ):
        content = operations[f"POST {path}"]["requestBody"]["content"]
        schema = schema_of(kind)
        assert content["application/json"]["schema"] == schema
        form = content["multipart/form-data"]["schema"]
        properties = schema["properties"] | dict.fromkeys(pictures, file)
        text = {"type": "string", "contentMediaType": "application/json"}
        for name in {"controls", "loras"} & properties.keys():
            properties[name] = text | {"description": properties[name]["description"]}
        assert form == {**schema, "properties": properties}


def test_the_events_of_a_request_are_named(operations: dict[str, Any]) -> None:
    schema = answer(operations, f"GET {REQUEST}/events", 200)["content"]["text/event-stream"]
    event = schema["schema"]
    assert event["required"] == ["data"]
    assert event["properties"]["event"]["enum"] == [
        *("queued", "started", "step", "completed", "failed")
    ]
    assert event["properties"]["id"] == {"type": "string"}
    assert event["properties"]["data"]["contentMediaType"] == "application/json"


def test_an_upload_is_a_list_of_one_to_sixteen_texts(operations: dict[str, Any]) -> None:
    schema = operations["POST /upload-asset"]["requestBody"]["content"]["application/json"]
    listed = schema["schema"]["properties"]["data_urls"]
    assert schema["schema"]["required"] == ["data_urls"]
    assert (listed["minItems"], listed["maxItems"]) == (1, 16)
    assert listed["items"] == {"type": "string", "minLength": 1}


def test_the_document_says_whose_it_is(document: dict[str, Any]) -> None:
    assert document["info"] == {
        "title": "flux-controlnet server",
        "description": "Self-hosted replacement of Segmind's flux-controlnet API.",
        "version": VERSION,
    }

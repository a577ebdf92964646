"""OpenAI's shape of errors, the paths that have it, and the schema of the bodies."""

from __future__ import annotations

import json

import pytest

from app.api.wire.openai import (
    SHOULD_RETRY,
    images_body,
    is_openai_path,
    openai_error_response,
    openai_status,
)
from app.core.errors import ContentWithheld


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(("/v1/images/edits", True), ("/v1/images/x", True), ("/v1/models", True)),
        *(("/v1/models/demo", True), ("/v1/models/", True), ("/v1/images", True)),
        *(("/v1/modelsx", False), ("/v1/flux-controlnet", False), ("", False)),
        ("/files/v1/models", False),
    ],
)
def test_the_paths_of_openai(path: str, expected: bool) -> None:
    assert is_openai_path(path) == expected


@pytest.mark.parametrize(
    ("text", "status", "kind", "param", "code"),
    [
        ("n: 5 is not allowed", 400, "invalid_request_error", "n", None),
        ("controls[1].strength: 3 is", 400, "invalid_request_error", "controls[1].strength", None),
        ("body: not valid JSON", 400, "invalid_request_error", None, None),
        ("Idempotency-Key: no", 400, "invalid_request_error", None, None),
        ("cancelled: by its owner", 409, "invalid_request_error", None, None),
        ("x", 401, "invalid_request_error", None, "invalid_api_key"),
        ("x", 402, "insufficient_quota", None, "insufficient_quota"),
        ("x", 429, "rate_limit_error", None, "rate_limit_exceeded"),
        ("x", 499, "invalid_request_error", None, None),
        ("x", 500, "server_error", None, None),
        (
            ContentWithheld.sentence,
            *(400, "invalid_request_error", None, "content_policy_violation"),
        ),
    ],
)
def test_an_error(text: str, status: int, kind: str, param: str | None, code: str | None) -> None:
    response = openai_error_response(text, status, {"retry-after": "7"})
    body = {"message": text, "type": kind, "param": param, "code": code}
    assert json.loads(bytes(response.body)) == {"error": body}
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")
    assert response.headers.get(SHOULD_RETRY) == ("false" if status == 409 else None)


def test_a_key_without_credits_is_402() -> None:
    assert [openai_status(status) for status in (400, 406, 409, 500)] == [400, 402, 409, 500]


def test_the_schema_of_a_body_has_both_kinds_of_parameters() -> None:
    content = images_body()["requestBody"]["content"]
    of_json, form = (
        content[kind]["schema"] for kind in ("application/json", "multipart/form-data")
    )
    assert of_json["required"] == form["required"] == ["prompt"]
    for schema in (of_json, form):
        assert {"n", "size", "steps", "cn_type", "control_image"} <= schema["properties"].keys()
        assert schema["properties"]["quality"]["anyOf"][1]["minimum"] == 10
    assert of_json["properties"]["image"]["type"] == "string"
    assert "image[]" not in of_json["properties"]
    assert form["properties"]["image[]"]["maxItems"] == 1
    assert form["properties"]["image"]["format"] == "binary"
    assert form["properties"]["controls"]["contentMediaType"] == "application/json"
    assert {"required": ["image[]"]} in form["anyOf"]

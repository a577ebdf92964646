"""Completes the generated OpenAPI document: the two body types of a submission, the error responses
of every endpoint, and how an API key is sent.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.api.wire.fields import schema_of
from app.api.wire.requests import (
    JSON_FIELDS,
    PICTURE_FIELDS,
    FluxControlNetBody,
    PreprocessBody,
)
from app.api.wire.responses import EncodedPictures, ErrorResponse
from app.api.wire.warning_header import WARNINGS_HEADER
from app.core.storage.uploads import KINDS

Responses = dict[int | str, dict[str, Any]]


def error_answer(description: str) -> dict[str, Any]:
    return {"description": description, "model": ErrorResponse}


ALWAYS: Responses = {
    400: error_answer("Not a valid request"),
    408: error_answer("The request did not arrive in time"),
    431: error_answer("The head of the request is too large"),
    500: error_answer("A defect of the server"),
    501: error_answer("Transfer-Encoding that is not understood"),
    503: error_answer("Temporarily unavailable"),
}
"""For FastAPI(responses=...): the error responses of every endpoint."""

KEYED: Responses = {401: error_answer("Missing or invalid key")}
FOUND: Responses = {404: error_answer("Unknown, expired or somebody else's")}
SUBMISSION: Responses = {
    **KEYED,
    402: error_answer("Insufficient credits (v2)"),
    406: error_answer("Invalid content type; insufficient credits (v1)"),
    409: error_answer("The idempotency key was used with another body; or v1: it was cancelled"),
    413: error_answer("Body too large"),
    415: error_answer("Content-Encoding that is not understood"),
    429: error_answer("More submissions in a minute than the key may make; see Retry-After"),
}

# The schema of one event, as tools read it for this content type.
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["queued", "started", "step", "completed", "failed"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "The part of the status body that the event is about",
        },
    },
}

EVENTS: Responses = {
    200: {
        "description": "Events, until the request has ended",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "Ended, and nothing has come after Last-Event-ID"},
    **KEYED,
    **FOUND,
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TEXT = {"schema": {"type": "string"}}
_WARNINGS = {
    WARNINGS_HEADER: {"description": "Only with warnings: a JSON list of them on one line"} | _TEXT
}

PICTURE_FILE: Responses = {
    200: {
        "description": "The picture",
        "content": {f"image/{kind}": _BINARY for kind in ("jpeg", "png", "webp")},
    }
}

UPLOADED_FILE: Responses = {
    200: {
        "description": "The picture",
        "content": {content_type: _BINARY for content_type in KINDS.values()},
    }
}

PICTURE: Responses = {
    200: {
        "description": "The picture, or JSON with base64 when `base64` is true",
        "model": EncodedPictures,
        "content": PICTURE_FILE[200]["content"],
        "headers": {
            name: _TEXT
            for name in ("x-request-id", "x-generation-time", "x-seed-value", "x-output-count")
        }
        | _WARNINGS,
    },
    **SUBMISSION,
    422: error_answer("A LoRA of the request cannot be applied"),
    504: error_answer("Not finished in time; fetch it by v2"),
}

MAP: Responses = {
    200: {
        "description": "The control map",
        "content": {"image/png": _BINARY},
        "headers": {name: _TEXT for name in ("x-request-id", "x-output-metadata")} | _WARNINGS,
    },
    **SUBMISSION,
    504: error_answer("Not finished in time; fetch it by v2"),
}


def json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """For openapi_extra: the body of an endpoint that does not let FastAPI parse it."""
    content = {"application/json": {"schema": schema_of(kind)}}
    return {"requestBody": {"required": True, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Make /openapi.json return the completed document."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        return _completed(generate())

    app.openapi = described  # type: ignore[method-assign]  # the documented way to extend it


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    components["securitySchemes"]["Bearer"] = {"type": "http", "scheme": "bearer"}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if "security" in operation:
                operation["security"] = [{scheme: []} for scheme in components["securitySchemes"]]
            # FastAPI adds its own 422 to endpoints with parameters; ours answer 400 instead.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
        if path.endswith("/flux-controlnet"):
            operations["post"]["requestBody"] = _body(FluxControlNetBody)
        elif path.endswith("/preprocess"):
            operations["post"]["requestBody"] = _body(PreprocessBody)
    return document


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {"schema": schema_of(kind)},
            "multipart/form-data": {"schema": _form_schema(kind)},
        },
    }


def _form_schema(kind: type[BaseModel]) -> dict[str, Any]:
    schema = schema_of(kind)
    picture = {**_BINARY["schema"], "minLength": 1, "description": "The picture as a file."}
    files = {name: picture for name in PICTURE_FIELDS if name in schema["properties"]}
    properties = {**schema["properties"], **files}
    text = {"type": "string", "contentMediaType": "application/json"}
    for name in JSON_FIELDS:
        if name in properties:
            properties[name] = text | {"description": properties[name]["description"]}
    return {**schema, "properties": properties}

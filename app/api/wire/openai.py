"""OpenAI's images API on the wire: its paths, its errors, its responses, and the schema of its
bodies. app.api.submission.openai_fields reads the bodies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NotRequired  # pydantic needs NotRequired before Python 3.12

from fastapi.responses import JSONResponse
from typing_extensions import TypedDict

from app.api.wire.fields import schema_of
from app.api.wire.requests import JSON_FIELDS, FluxControlNetBody
from app.core.errors import ContentWithheld, InsufficientCredits
from models.spec import SAMPLES_MAX

SHOULD_RETRY = "x-should-retry"
"""A response header that OpenAI's clients obey instead of the status; they repeat a call after 408,
409, 429 and 5xx."""

STEPS_OF_QUALITY = {"low": 15, "medium": 20, "high": 30, "hd": 30, "xhigh": 40, "max": 50}
DEFAULT_QUALITIES = ("auto", "standard")
RESPONSE_FORMATS = ("b64_json", "url")
IGNORED = (
    *("model", "user", "safety_identifier", "moderation", "input_fidelity", "partial_images"),
    *("complexity", "style"),
)
"""Parameters of OpenAI that change nothing here."""

_PATHS = ("/v1/images/", "/v1/models/")
_PARAMETER = re.compile(r"([a-z_]+(?:\[[0-9]+\]\.[a-z_]+)?): ")
_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}
_TYPES = {402: "insufficient_quota", 429: "rate_limit_error"}


class OpenAIError(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorResponse(TypedDict):
    error: OpenAIError


class Image(TypedDict):
    """One of the two, as `response_format` says."""

    b64_json: NotRequired[str]
    url: NotRequired[str]


class TokenDetails(TypedDict):
    image_tokens: int
    text_tokens: int


class Usage(TypedDict):
    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    total_tokens: int


class ImagesResponse(TypedDict):
    """created: Unix seconds. usage: zeros, for clients that add tokens up."""

    created: int
    data: list[Image]
    background: Literal["opaque"]
    output_format: str
    size: str
    usage: Usage


class Model(TypedDict):
    """created: 0, because it is not known."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


def is_openai_path(path: str) -> bool:
    return f"{path}/".startswith(_PATHS)


def openai_error_response(
    text: str, status: int, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """status: ours; the 406 of v1 for a key without credits is 402 here."""
    headers = dict(headers or {})
    if status == 409:  # would be repeated, and refused again
        headers[SHOULD_RETRY] = "false"
    return JSONResponse(_error_body(text, status), status_code=status, headers=headers)


def openai_status(error_status: int) -> int:
    """The HTTP status of a FAILED request. error_status: its status on v1."""
    return 402 if error_status == InsufficientCredits.v1_status else error_status


def no_usage() -> Usage:
    return {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    }


def images_body() -> dict[str, Any]:
    """For openapi_extra: the body of an endpoint of images."""
    schema = schema_of(FluxControlNetBody)
    schema["properties"] |= _properties(schema["properties"]["quality"])
    picture = {"type": "string", "format": "binary", "minLength": 1}
    files = {name: picture for name in ("image", "control_image")}
    list_of_one = {"type": "array", "items": picture, "minItems": 1, "maxItems": 1}
    form = {**schema["properties"], **files, "image[]": list_of_one}
    text = {"type": "string", "contentMediaType": "application/json"}
    form |= dict.fromkeys(JSON_FIELDS, text)
    any_of = [*schema["anyOf"], {"required": ["image[]"]}]
    content = {
        "application/json": {"schema": schema},
        "multipart/form-data": {"schema": {**schema, "properties": form, "anyOf": any_of}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _properties(quality: dict[str, Any]) -> dict[str, Any]:
    """The schemas of OpenAI's parameters. quality: of our own."""
    words = {"enum": [*DEFAULT_QUALITIES, *STEPS_OF_QUALITY]}
    text = {"type": "string"}
    return {
        "n": {"type": "integer", "minimum": 1, "maximum": SAMPLES_MAX, "default": 1},
        "size": {**text, "pattern": "^(auto|[0-9]{2,4}x[0-9]{2,4})$", "default": "auto"},
        "quality": {"anyOf": [words, quality]},
        "response_format": {"enum": list(RESPONSE_FORMATS), "default": "b64_json"},
        "output_format": {"enum": ["png", "jpeg", "webp"], "default": "png"},
        "output_compression": {"type": "integer", "minimum": 10, "maximum": 100, "default": 95},
        "background": {"enum": ["auto", "opaque"]},
        "stream": {"enum": [False]},
        **{name: text for name in ("model", "user", "moderation", "input_fidelity")},
    }


def _error_body(text: str, status: int) -> OpenAIErrorResponse:
    match = _PARAMETER.match(text) if status == 400 else None
    code = "content_policy_violation" if text == ContentWithheld.sentence else _CODES.get(status)
    return {
        "error": {
            "message": text,
            "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
            "param": match[1] if match and match[1] != "body" else None,
            "code": code,
        }
    }

"""What the generated OpenAPI document cannot see by itself: the two body types of a submission and
the error envelope.
"""

from __future__ import annotations

from typing import Any

from app.api.schemas import FluxControlNetBody


def _form_schema() -> dict[str, Any]:
    schema = FluxControlNetBody.model_json_schema()
    picture = {"type": "string", "format": "binary", "description": "The picture as a file."}
    return {**schema, "properties": {**schema["properties"], "image": picture}}


SUBMIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": FluxControlNetBody.model_json_schema()},
            "multipart/form-data": {"schema": _form_schema()},
        },
    }
}

_ERROR = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"error": {"type": "string"}},
                "required": ["error"],
            }
        }
    }
}

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Invalid request", **_ERROR},
    401: {"description": "Missing or invalid key", **_ERROR},
    404: {"description": "Unknown, expired or foreign", **_ERROR},
    406: {"description": "Invalid content type", **_ERROR},
    413: {"description": "Body too large", **_ERROR},
    422: {"description": "The request FAILED", **_ERROR},
    503: {"description": "Temporarily unavailable", **_ERROR},
}

"""Error responses, as HTTP bytes, to input that never reaches the application."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from app.api.http.headers import SECURITY_HEADERS
from app.core.errors import HeadTooLarge, ServerError

MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100

HEAD_TOO_LARGE = HeadTooLarge(
    f"The head of the request is larger than {MAX_HEAD_BYTES} bytes or has more than "
    f"{MAX_HEADERS} headers"
)


def raw_error_response(error: ServerError, headers: Mapping[str, str]) -> bytes:
    """The whole response; the connection closes after it. headers: in addition."""
    body = json.dumps({"error": error.text}).encode()
    head = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **SECURITY_HEADERS,
        **headers,
    }
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"{status}{lines}\r\n".encode() + body

"""Answers to what never became a request, as the bytes of HTTP: no application was asked."""

from __future__ import annotations

import json
from http import HTTPStatus

from app.api.http.headers import SAFE_HEADERS
from app.core.errors import HeadTooLarge, ServerError

MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100

HEAD_TOO_LARGE = HeadTooLarge(
    f"The head of the request is larger than {MAX_HEAD_BYTES} bytes or has more than "
    f"{MAX_HEADERS} headers"
)


def raw_answer(error: ServerError) -> bytes:
    """The whole answer; the connection ends with it."""
    body = json.dumps({"error": error.text}).encode()
    head = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **SAFE_HEADERS,
    }
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"{status}{lines}\r\n".encode() + body

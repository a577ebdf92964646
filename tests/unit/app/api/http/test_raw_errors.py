"""The bytes of an answer to what never became a request."""

from __future__ import annotations

import json

import pytest

from app.api.http.raw_errors import HEAD_TOO_LARGE, MAX_HEAD_BYTES, MAX_HEADERS, raw_error_response
from app.core.errors import InvalidRequest, ServerError, TooSlow, UnknownTransferCoding


def test_the_bounds_of_a_head() -> None:
    assert (MAX_HEAD_BYTES, MAX_HEADERS) == (32_768, 100)
    assert HEAD_TOO_LARGE.text == (
        "The head of the request is larger than 32768 bytes or has more than 100 headers"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidRequest("no é"), b"HTTP/1.1 400 Bad Request"),
        (TooSlow(), b"HTTP/1.1 408 Request Timeout"),
        (HEAD_TOO_LARGE, b"HTTP/1.1 431 Request Header Fields Too Large"),
        (UnknownTransferCoding(), b"HTTP/1.1 501 Not Implemented"),
    ],
)
def test_a_refusal_is_a_whole_answer_that_ends_the_connection(
    error: ServerError, line: bytes
) -> None:
    head, _, body = raw_error_response(error, {"vary": "Origin"}).partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == line
    assert json.loads(body) == {"error": error.text}
    assert dict(line.decode().split(": ", 1) for line in lines) == {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "vary": "Origin",
    }

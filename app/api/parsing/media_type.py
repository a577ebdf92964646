"""The declared type and coding of a request body."""

from __future__ import annotations

from fastapi import Request

from app.core.errors import UnsupportedEncoding

_SHOWN = 40


def media_type_of(request: Request) -> str:
    """The Content-Type in lower case, without parameters; "" if missing. Raises UnsupportedEncoding
    (415) for a compressed body, because its decompressed size has no limit.
    """
    check_encoding(request)
    return request.headers.get("content-type", "").partition(";")[0].strip(" \t").lower()


def check_encoding(request: Request) -> None:
    """Raises UnsupportedEncoding for any Content-Encoding but identity."""
    for value in request.headers.getlist("content-encoding"):
        for coding in value.split(","):
            if coding.strip(" \t").lower() not in ("", "identity"):
                raise UnsupportedEncoding(coding.strip(" \t")[:_SHOWN])

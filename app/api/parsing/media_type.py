"""What a request says that its body is."""

from __future__ import annotations

from fastapi import Request

from app.core.errors import UnsupportedEncoding

_SHOWN = 40


def media_type_of(request: Request) -> str:
    """Lower case, without parameters; "" when it says nothing. Raises UnsupportedEncoding (415) for
    a body that would have to be unpacked: what comes out of that has no bound.
    """
    check_encoding(request)
    return request.headers.get("content-type", "").partition(";")[0].strip(" \t").lower()


def check_encoding(request: Request) -> None:
    """Raises UnsupportedEncoding unless the body comes as it is."""
    for value in request.headers.getlist("content-encoding"):
        for coding in value.split(","):
            if coding.strip(" \t").lower() not in ("", "identity"):
                raise UnsupportedEncoding(coding.strip(" \t")[:_SHOWN])

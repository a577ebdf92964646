"""What a request says that its body is, and the codings that are refused."""

from __future__ import annotations

import pytest
from fastapi import Request

from app.api.parsing.media_type import check_encoding, media_type_of
from app.core.errors import UnsupportedEncoding


def request(**headers: str | list[str]) -> Request:
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return Request({"type": "http", "method": "POST", "headers": raw})


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        (" \tapplication/json\t ;charset=utf-8", "application/json"),
        ("multipart/form-data; boundary=A;b", "multipart/form-data"),
        ("application/json\xa0", "application/json\xa0"),
        ("", ""),
    ],
)
def test_a_media_type_is_in_lower_case_without_parameters(header: str, media_type: str) -> None:
    assert media_type_of(request(content_type=header)) == media_type


def test_a_request_that_says_nothing_has_no_media_type() -> None:
    assert media_type_of(request()) == ""


@pytest.mark.parametrize("coding", ["", "identity", "Identity ", "identity,\tIDENTITY", ","])
def test_a_body_that_comes_as_it_is_has_no_coding(coding: str) -> None:
    check_encoding(request(content_encoding=coding))


@pytest.mark.parametrize(
    ("codings", "named"),
    [
        ("gzip", "gzip"),
        ("identity, Br ", "Br"),
        (["identity", "deflate"], "deflate"),
        ("\xe9", "\xe9"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40),
    ],
)
def test_any_other_coding_is_415(codings: str | list[str], named: str) -> None:
    for check in (check_encoding, media_type_of):
        with pytest.raises(UnsupportedEncoding) as refused:
            check(request(content_encoding=codings))
        assert refused.value.status == 415
        assert refused.value.text.startswith(f"Content-Encoding: {named!r} is not understood")

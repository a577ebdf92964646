"""The JSON and the media type of a response."""

from __future__ import annotations

from typing import Any

import pytest

from tools.migrationcheck.exchanges import Response

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(
    ("content_type", "body", "content"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("application/json", b"{", None),
        ("application/json", None, None),
        ("text/html", b"{}", None),
    ],
)
def test_json_of_a_response(content_type: str, body: bytes | None, content: Any) -> None:
    assert Response(200, {"content-type": content_type}, body, None).json() == content


def test_a_response_without_a_content_type() -> None:
    assert Response(204, {}, b"", None).media_type == ""

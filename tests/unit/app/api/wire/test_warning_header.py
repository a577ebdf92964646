"""The header of warnings: one line of ASCII, and never longer than a proxy takes."""

from __future__ import annotations

import json

from app.api.wire.warning_header import MAX_LENGTH, warning_headers
from app.core.requests.warnings import RequestWarning, warning_bodies
from tests.support.records import record


def test_without_warnings_there_is_no_header() -> None:
    assert warning_headers(record()) == {}


def test_the_header_is_a_json_list_on_one_line_of_ascii() -> None:
    warnings = (
        RequestWarning("unknown_parameter", "größe\r\nx-injected: 1", "\u2028 \U0001f600"),
        RequestWarning("prompt_cut", "prompt", 'a "quoted" \\ sentence'),
    )
    headers = warning_headers(record(warnings=warnings))
    assert list(headers) == ["x-warnings"]
    text = headers["x-warnings"]
    assert text.isascii()
    assert text.isprintable()
    assert text == json.dumps(json.loads(text))
    assert json.loads(text) == warning_bodies(warnings)


def test_what_does_not_fit_is_left_out_as_a_whole() -> None:
    base = len(json.dumps([RequestWarning().to_body()]))
    exact = RequestWarning(message="x" * (MAX_LENGTH - base))
    assert len(warning_headers(record(warnings=(exact,)))["x-warnings"]) == MAX_LENGTH
    longer = RequestWarning(message=exact.message + "x")
    assert warning_headers(record(warnings=(longer,))) == {}
    many = tuple(RequestWarning("code", str(number), "m" * 100) for number in range(100))
    text = warning_headers(record(warnings=many))["x-warnings"]
    assert len(text) <= MAX_LENGTH
    shown = json.loads(text)
    assert shown == warning_bodies(many[: len(shown)])
    assert len(shown) >= 10

"""A JSON body as fields: what is one, and how much of one is read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request

from app.api.parsing.json_body import read_json, shortened
from app.api.parsing.json_scan import LongString
from app.core.errors import InvalidRequest


def read(raw: bytes) -> dict[str, Any]:
    """The fields of a body that arrives in pieces."""
    pieces = [raw[at : at + 65_536] for at in range(0, len(raw), 65_536)] or [b""]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return asyncio.run(read_json(request))


def refusal(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as refused:
        read(raw)
    assert refused.value.status == 400
    return refused.value.text


def test_a_body_is_the_fields_of_an_object() -> None:
    fields = {"a": "é", "b": [1, 2.5, None, True], "c": {"d": -0.5e3}}
    assert read(json.dumps(fields).encode()) == fields
    assert read(b"{}") == {}
    assert read(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"a"', b"null", b"true"])
def test_another_value_than_an_object_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "body: a JSON object is needed"


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b'{"a": 1,}', b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}'),
        *(b'{"a": -Infinity}', b'{"a": 1} x', b'{"a": "\n"}', b'{"a": ' + b"[" * 100_000),
    ],
)
def test_a_body_that_is_no_json_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "body: not valid JSON; a JSON object is needed"


def test_json_in_another_encoding_is_refused() -> None:
    assert refusal('{"a": "é"}'.encode("latin-1")) == (
        "body: not valid JSON; its text must be UTF-8"
    )


@pytest.mark.parametrize(("digits", "taken"), [(500, True), (501, False)])
def test_a_number_has_at_most_500_digits(digits: int, taken: bool) -> None:
    raw = b'{"a": %s}' % (b"9" * digits)
    if taken:
        assert read(raw) == {"a": 10**digits - 1}
    else:
        assert refusal(raw) == "body: not valid JSON; a JSON object is needed"


TOO_MUCH = "body: too many values; a JSON object of the parameters is needed"


def test_a_body_has_at_most_400_000_marks() -> None:
    """Brackets, commas and colons: as many as a prompt may hold, each four times over."""
    just = b'{"a":[' + b"," * (400_000 - 3)
    assert refusal(just + b"]}") == "body: not valid JSON; a JSON object is needed"
    assert refusal(just + b",]}") == TOO_MUCH


def test_a_body_has_at_most_four_mebibytes_beside_long_strings() -> None:
    bound = 4 * 1024 * 1024
    spaces = bound - len('{"a":1}')
    # Spaces are kept as one where a whole window has nothing else.
    numbers = b'{"a":[1' + b"0" * (bound - len('{"a":[1]}'))
    assert refusal(numbers + b"]}") == "body: not valid JSON; a JSON object is needed"
    assert refusal(numbers + b"0]}") == TOO_MUCH
    assert read(b'{"a":1' + b" " * 2 * spaces + b"}") == {"a": 1}


def test_a_long_string_is_kept_out_of_the_fields_and_shortened_in_them() -> None:
    for letter in "aé😀":  # of one, two and four bytes
        text = json.dumps({"image": letter * 200_000, "prompt": "x"}, ensure_ascii=False)
        fields = read(text.encode())
        assert isinstance(fields["image"], LongString)
        short = shortened(fields)
        assert short["prompt"] == "x"
        assert len(short["image"]) >= 100_001  # which no prompt may have
        assert set(short["image"]) == {letter}

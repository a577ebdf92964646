"""A JSON text read while it arrives is what json.loads makes of it, long strings apart."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.parsing.json_body import shortened
from app.api.parsing.json_scan import JsonScan, LongString, TooMuchJson
from app.api.wire.requests import PROMPT_MAX

MOST, MARKS = 1_000_000, 10_000
WINDOW = 32_768
LONG = 3 * WINDOW + 5


def scanned(raw: bytes, step: int = 65_536) -> Any:
    scan = JsonScan(10**8, 10**7)
    for start in range(0, len(raw), step):
        scan.feed(raw[start : start + step])
    return scan.value()


def plain(value: Any) -> Any:
    """With a text for each LongString."""
    if isinstance(value, LongString):
        return value.text(10**9)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


PIECES = {
    "base64": "QUJD",
    "escaped slashes": "\\/",
    "escaped backslashes": "\\\\",
    "escaped quotes": '\\"',
    "escaped plus": "\\u002b",
    "escapes of every kind": 'a\\n\\"\\\\\\u00e9b',
    "pairs": "\\ud83d\\ude00",
    "half a pair": "\\ud83d",
    "letters of two bytes": "é",
    "letters of four bytes": "x\U0001f600",
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("shift", range(8))
def test_a_long_string_is_the_one_that_was_sent(piece: str, shift: int) -> None:
    """Whatever of it stands at the borders of the windows."""
    long = piece * (LONG // len(piece))
    raw = f'{{"a{"x" * shift}": "{long}", "b": ["short", "{long}"], "c": 1}}'.encode()
    value = scanned(raw)
    assert isinstance(value["b"][1], LongString)
    assert plain(value) == json.loads(raw)


def test_a_long_string_as_bytes() -> None:
    raw = json.dumps({"image": "QUJD" * WINDOW}).encode()
    image = scanned(raw)["image"]
    assert image.may_be_base64
    assert image.to_bytes() == b"QUJD" * WINDOW
    assert image.text(10) == ("QUJD" * WINDOW)[: len(image.text(10))]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_longest_prompt_is_whole(ascii_only: bool) -> None:
    """Also where every window ends within a surrogate pair."""
    prompt = "a" + "\U0001f600" * (PROMPT_MAX - 1)
    raw = json.dumps({"prompt": prompt}, ensure_ascii=ascii_only).encode()
    fields = scanned(raw)
    assert isinstance(fields["prompt"], LongString)
    assert shortened(fields) == {"prompt": prompt}
    assert len(shortened(scanned(raw.replace(b'"}', b'aaa"}')))["prompt"]) > PROMPT_MAX


@pytest.mark.parametrize("start", ["https://example.com/", "é"])
def test_text_that_cannot_be_base64(start: str) -> None:
    raw = json.dumps({"image": start + "a" * LONG}).encode()
    assert not scanned(raw)["image"].may_be_base64


texts = st.text(max_size=20) | st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=9), st.integers(1, 12_000)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), texts | st.lists(texts, max_size=3) | values), st.data()
)
def test_any_object(fields: dict[str, Any], data: st.DataObject) -> None:
    indent = data.draw(st.sampled_from([None, 2]))
    ascii_only = data.draw(st.booleans())
    raw = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    found = plain(scanned(raw, data.draw(st.sampled_from([777, 40_000, 10**7]))))
    for name, value in json.loads(raw).items():
        if not isinstance(value, dict) and not _nested(value):  # insides of these are not restored
            assert found[name] == value


def _nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, list | dict) for item in value)


LETTERS = "a" * LONG
BROKEN = {
    "no end of the string": f'{{"a": "{LETTERS}',
    "no end of the object": f'{{"a": "{LETTERS}"',
    "a control character": f'{{"a": "{LETTERS}\n{LETTERS}"}}',
    "no such escape": f'{{"a": "{LETTERS}\\x{LETTERS}"}}',
    "half an escape": f'{{"a": "{LETTERS}\\u00"}}',
    "an escape outside": f'{{\\ "a": "{LETTERS}"}}',
    "two strings": f'{{"a": "{LETTERS}" "{LETTERS}"}}',
    "text behind it": f'{{"a": "{LETTERS}"}} {LETTERS}',
    "another blank": '{"a": ' + "\xa0" * LONG + "1}",
    "UTF-16": json.dumps({"a": "b"}).encode("utf-16"),
    "UTF-16 without a mark": json.dumps({"a": "b"}).encode("utf-16-le"),
    "UTF-32": json.dumps({"a": "b"}).encode("utf-32"),
    "Latin-1": b'{"a": "caf\xe9"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "half a letter": b'{"a": "\xc3',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_text_that_is_no_json(text: str | bytes) -> None:
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        scanned(text.encode() if isinstance(text, str) else text)


def test_a_byte_order_mark_is_ignored() -> None:
    assert scanned(b'\xef\xbb\xbf{"a": 1}', step=1) == {"a": 1}


@pytest.mark.parametrize(
    "text", ["[" * (20 * MARKS), f'["{"a" * 1000}"' * (MOST // 500), '""' * MOST]
)
def test_many_values_are_refused_as_they_arrive(text: str) -> None:
    scan = JsonScan(MOST, MARKS)
    pieces = (text[start : start + 65_536].encode() for start in range(0, len(text), 65_536))
    with pytest.raises(TooMuchJson):
        deque(map(scan.feed, pieces), maxlen=0)
    assert list(pieces)


def test_blanks_beside_the_values_are_not_kept() -> None:
    assert scanned(b" " * (3 * MOST) + b'{"a": 1}' + b"\n" * MOST) == {"a": 1}


def test_a_long_string_in_an_object_of_a_list_is_one_and_deeper_ones_are_not() -> None:
    text = "QUJD" * 40_000
    fields = {"controls": [{"type": "canny", "image": text}, {"image": [text]}], "b": {"c": text}}
    found = scanned(json.dumps(fields).encode())
    image = found["controls"][0]["image"]
    assert isinstance(image, LongString)
    assert (image.to_bytes(), image.may_be_base64) == (text.encode(), True)
    assert found["controls"][0]["type"] == "canny"
    assert found["b"]["c"].to_bytes() == text.encode()
    assert isinstance(found["controls"][1]["image"], list)


def test_memory_is_little_more_than_the_text() -> None:
    """It is there once, in pieces; json.loads would take a copy of all and a string of it."""
    piece = b"QUJD" * 16_384
    scan = JsonScan(MOST, MARKS)
    tracemalloc.start()
    try:
        scan.feed(b'{"image": "')
        for _ in range(300):
            scan.feed(bytes(piece))
        scan.feed(b'"}')
        image = scan.value()["image"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(image.to_bytes()) == 300 * len(piece)
    assert peak < 1.2 * 300 * len(piece)

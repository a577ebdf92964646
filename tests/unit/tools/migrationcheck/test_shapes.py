"""Differences of shape: keys, types and the values that must not vary."""

from __future__ import annotations

from typing import Any

import pytest

from tools.migrationcheck.shapes import differences, header_value

pytestmark = pytest.mark.tools


def texts(before: Any, after: Any) -> list[str]:
    return [difference.text for difference in differences(before, after)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"request_id": "a", "seed": "1"}, {"request_id": "b", "seed": "2"}),
        ({"cost": 1}, {"cost": 0.5}),
        ({"output": "https://a/b"}, {"output": "http://c/d"}),
        ({"file_size": "..."}, {"file_size": 12}),
        ({"error": None}, {"error": None}),
    ],
)
def test_volatile_and_unpublished_values_do_not_count(before: Any, after: Any) -> None:
    assert texts(before, after) == []


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ({"error": None}, {"error": "no"}, "error: null is now a text"),
        ({"on": True}, {"on": 1}, "on: a boolean is now a number"),
        ({"output": "https://a/b"}, {"output": "iVBORw"}, "output: a link is now a text"),
        ({"status": "QUEUED"}, {"status": "queued"}, "status: 'QUEUED' is now 'queued'"),
        ({"images": [{"width": 8}]}, {"images": [{"width": 9}]}, "images[].width: 8 is now 9"),
        ({"images": [1, 2]}, {"images": [1]}, "images: 2 items are now 1"),
        ([], {}, "the body: a list is now an object"),
    ],
)
def test_a_missing_or_different_part_is_named(before: Any, after: Any, named: str) -> None:
    (difference,) = differences(before, after)
    assert (difference.text, difference.additional) == (named, False)


def test_additional_keys_are_told_apart() -> None:
    (difference,) = differences({"metrics": {}}, {"metrics": {"profile": "exact"}})
    assert difference.additional
    assert difference.text == "metrics.profile is additional"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.34", 12.34),
        ("-1", -1.0),
        ("Infinity", "Infinity"),
        ('{"width": 8}', {"width": 8}),
        ("{no json", "{no json"),
        ("12345678901234567890123456789012", "12345678901234567890123456789012"),  # an id
    ],
)
def test_header_values(text: str, value: Any) -> None:
    assert header_value(text) == value

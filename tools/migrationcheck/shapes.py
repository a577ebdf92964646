"""Compares the shapes of two JSON values: keys and types, and the values that must not vary.

Ids, dates, seeds, credits, seconds and sentences are compared by type only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

UNKNOWN = "..."
"""In a recording made by hand: a value whose type is not published."""

_EXACT = frozenset(("status", "content_type", "image_format", "outputs", "width", "height"))
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?")


@dataclass(frozen=True, slots=True)
class Difference:
    """additional: something of ours that clients of the other API ignore."""

    text: str
    additional: bool = False


def differences(before: Any, after: Any, place: str = "") -> Iterator[Difference]:
    """What is missing, different or additional in `after`. place: such as `images[].url`."""
    if before == UNKNOWN:
        return
    types = kind(before), kind(after)
    if types[0] != types[1]:
        yield Difference(f"{place or 'the body'}: {types[0]} is now {types[1]}")
    elif isinstance(before, dict):
        yield from _of_objects(before, after, place)
    elif isinstance(before, list):
        yield from _of_lists(before, after, place)
    elif place.rpartition(".")[2] in _EXACT and before != after:
        yield Difference(f"{place}: {before!r} is now {after!r}")


def _of_objects(before: dict[str, Any], after: dict[str, Any], place: str) -> Iterator[Difference]:
    start = f"{place}." if place else ""
    for key, value in before.items():
        if key not in after:
            yield Difference(f"{start}{key} is missing")
        else:
            yield from differences(value, after[key], f"{start}{key}")
    for key in sorted(after.keys() - before.keys()):
        yield Difference(f"{start}{key} is additional", additional=True)


def _of_lists(before: list[Any], after: list[Any], place: str) -> Iterator[Difference]:
    if len(before) != len(after):
        yield Difference(f"{place}: {len(before)} items are now {len(after)}")
    for pair in zip(before, after, strict=False):
        yield from differences(*pair, f"{place}[]")


def kind(value: Any) -> str:
    """The type as a client sees it; a link is a type of its own."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a link" if value.startswith(("http://", "https://")) else "a text"
        case list():
            return "a list"
    return "an object"


def header_value(text: str) -> Any:
    """A header's value as a number, an object or a list if it is one, and else as a text."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text

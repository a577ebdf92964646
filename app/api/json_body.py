"""A JSON body as the fields of an object. Judges no value."""

from __future__ import annotations

import json
from typing import Any

from app.api.schemas import PROMPT_MAX
from app.core.errors import InvalidRequest

_MARKS = (b"[", b"{", b",", b":")
_MOST_MARKS = 4 * PROMPT_MAX  # a prompt may consist of them
_MOST_DIGITS = 500


def json_object(raw: bytes) -> dict[str, Any]:
    """The fields of a body. Raises InvalidRequest when it is not a JSON object."""
    # A body of nothing but brackets would take a hundred times its size as objects.
    if sum(raw.count(mark) for mark in _MARKS) > _MOST_MARKS:
        raise InvalidRequest("body: too many values; a JSON object of the parameters is needed")
    try:
        fields = json.loads(raw, parse_constant=_refuse_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        raise InvalidRequest("body: not valid JSON; a JSON object is needed") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body: a JSON object is needed")
    return fields


def _integer(digits: str) -> int:
    """Reading digits takes the square of their number, and thousands of them fit into a body."""
    if len(digits) > _MOST_DIGITS:
        raise ValueError("no parameter is that large")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""Parses a JSON body into the fields of an object. Validates no value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request

from app.api.parsing.json_scan import JsonScan, LongString, TooMuchJson
from app.api.wire.requests import PROMPT_MAX
from app.core.errors import InvalidRequest

_MAX_CHARACTERS = 4 * 1024 * 1024  # outside of long strings; parsing them takes about 20 ms
# A body of brackets alone needs a hundred times its size as objects. A prompt may consist of
# brackets.
_MAX_MARKS = 4 * PROMPT_MAX
_MAX_DIGITS = 500


async def read_json(request: Request) -> dict[str, Any]:
    """The fields of a body, parsed as it arrives; long strings are LongString. Raises
    InvalidRequest if it is not a JSON object."""
    fields = await read_value(request.stream(), "body", "a JSON object")
    if not isinstance(fields, dict):
        raise InvalidRequest("body: a JSON object is needed")
    return fields


async def read_value(chunks: AsyncIterator[bytes], name: str, needed: str) -> Any:
    """A JSON value, parsed as it arrives; long strings are LongString. Raises InvalidRequest with
    the name of the value and what is needed."""
    scan = JsonScan(_MAX_CHARACTERS, _MAX_MARKS)
    try:
        async for chunk in chunks:
            scan.feed(chunk)
        return scan.value(parse_constant=_refuse_constant, parse_int=_integer)
    except TooMuchJson:
        raise InvalidRequest(
            f"{name}: too many values; {needed} of the parameters is needed"
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name}: not valid JSON; its text must be UTF-8") from None
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{name}: not valid JSON; {needed} is needed") from None


def shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace every LongString by its beginning. It is longer than any parameter may be, so it is
    as invalid as the whole."""
    return {
        name: value.text(PROMPT_MAX + 1) if isinstance(value, LongString) else value
        for name, value in fields.items()
    }


def _integer(digits: str) -> int:
    """int() takes quadratic time in the number of digits, so that number is limited."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError("no parameter is that large")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""A JSON body as the fields of an object. Judges no value."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from app.api.parsing.json_scan import JsonScan, LongString, TooMuchJson
from app.api.wire.requests import PROMPT_MAX
from app.core.errors import InvalidRequest

_MOST = 4 * 1024 * 1024  # characters beside long strings; parsing them takes some 20 ms
# A body of nothing but brackets would take a hundred times its size as objects; a prompt may
# consist of them.
_MOST_MARKS = 4 * PROMPT_MAX
_MOST_DIGITS = 500


async def read_json(request: Request) -> dict[str, Any]:
    """The fields of a body, read as it arrives; long strings among them are LongString. Raises
    InvalidRequest when it is not a JSON object."""
    scan = JsonScan(_MOST, _MOST_MARKS)
    try:
        async for chunk in request.stream():
            scan.feed(chunk)
        fields = scan.value(parse_constant=_refuse_constant, parse_int=_integer)
    except TooMuchJson:
        raise InvalidRequest(
            "body: too many values; a JSON object of the parameters is needed"
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequest("body: not valid JSON; its text must be UTF-8") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("body: not valid JSON; a JSON object is needed") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body: a JSON object is needed")
    return fields


def shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """With plain texts for all LongString: of what is too long for any parameter the beginning,
    which is as wrong as the whole."""
    return {
        name: value.text(PROMPT_MAX + 1) if isinstance(value, LongString) else value
        for name, value in fields.items()
    }


def _integer(digits: str) -> int:
    """Reading digits takes the square of their number, and thousands of them fit into a body."""
    if len(digits) > _MOST_DIGITS:
        raise ValueError("no parameter is that large")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

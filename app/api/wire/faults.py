"""The sentences about a wrong request body: `parameter: the fault; the allowed values`.

Reads the errors of pydantic and the schema of the bodies. Validates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.api.wire.fields import LONE_SURROGATE, WRONG_LENGTH
from models.control_types import MODES, served_types
from models.spec import CONTROL_NAMES


def name_of(location: tuple[int | str, ...]) -> str:
    """The parameter of an error, as in `controls[1].strength`."""
    names = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(names).removeprefix(".")


def sentence_of(detail: Any, schema: Mapping[str, Any], checkpoint: str) -> str:
    """The sentence for one error of pydantic. schema: of the body, without references. checkpoint:
    the served one."""
    name = name_of(detail["loc"])
    if detail["type"] == LONE_SURROGATE:
        return (
            f"{name}: {detail['msg']} is not allowed without its other half, which makes a "
            "character of it; a string of Unicode characters is needed"
        )
    part = _part(schema, detail["loc"])
    if detail["type"] == "missing":
        return f"{name}: is missing; {_allowed(part, checkpoint)}"
    value = detail["input"]
    if detail["type"] == WRONG_LENGTH:
        count = "an empty list" if not value else f"a list of {len(value)}"
        return f"{name}: {count} is not allowed; {_allowed(part, checkpoint)}"
    if isinstance(value, str) and not value.strip():
        return f"{name}: is empty; {_allowed(part, checkpoint)}"
    return f"{name}: {shown(value)} is not allowed; {_allowed(part, checkpoint)}"


def not_served(name: str, control: str, checkpoint: str) -> str | None:
    """The sentence for a type of control that only other checkpoints serve; None for a served
    one."""
    served = _served(checkpoint)
    if control in served:
        return None
    others = [other for other in MODES if control in served_types(other)]
    return (
        f'{name}: "{control}" is not allowed; {checkpoint} serves {", ".join(served)}'
        f" ({control} is a type of {', '.join(others)})"
    )


def _served(checkpoint: str) -> list[str]:
    return [name for name in CONTROL_NAMES if name in served_types(checkpoint)]


def _part(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> Mapping[str, Any]:
    """The schema of a parameter."""
    for name in location:
        schema = schema["items"] if isinstance(name, int) else schema["properties"][name]
    return schema


def shown(value: object) -> str:
    """A value as it was sent, cut short. Lists and objects only by kind: they may be long, or too
    deep for json.dumps."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    text = json.dumps(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed(part: Mapping[str, Any], checkpoint: str) -> str:
    """The allowed values of a parameter in words, from its schema."""
    if "enum" in part:
        names = _served(checkpoint) if part["enum"] == list(CONTROL_NAMES) else part["enum"]
        return "allowed are " + ", ".join(names)
    if part["type"] == "boolean":
        return "allowed are true and false"
    if part["type"] == "array":
        least = f"{part['minItems']} to" if part["minItems"] else "at most"
        return f"a list of {least} {part['maxItems']} objects is needed"
    if part["type"] == "object":
        return "an object is needed"
    if part["type"] == "string":
        longest = f" of at most {part['maxLength']} characters" if "maxLength" in part else ""
        return "a non-empty string is needed" + longest
    kind = "an integer" if part["type"] == "integer" else "a number"
    return f"allowed is {kind} from {part['minimum']} to {part['maximum']}"

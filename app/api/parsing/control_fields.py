"""The pictures in the parameter `controls`: their names in forms and errors, and their places in
the fields of a body. Validates no value.
"""

from __future__ import annotations

import re
from typing import Any

from app.api.parsing.json_body import shortened
from app.api.parsing.json_scan import LongString
from app.api.wire.requests import PICTURE_FIELDS
from app.core.errors import InvalidRequest
from models.spec import CONTROLS_MAX

CONTROLS = "controls"
_PICTURE = re.compile(r"controls\[([0-9]{1,3})\]\.(image|control_image)")


def is_picture(name: str) -> bool:
    """Whether a part of a form is named like a picture: `image`, or `controls[0].image`."""
    return name in PICTURE_FIELDS or _PICTURE.fullmatch(name) is not None


def with_controls(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form with each `controls[0].image` put into its element of `controls`. Raises
    InvalidRequest for one without an element."""
    merged = {name: value for name, value in fields.items() if not _PICTURE.fullmatch(name)}
    for name, value in fields.items():
        match = _PICTURE.fullmatch(name)
        if match is None or value == "":
            continue
        index, key = int(match[1]), match[2]
        controls = merged.get(CONTROLS)
        if not isinstance(controls, list) or index >= len(controls):
            raise InvalidRequest(f"{name}: there is no controls[{index}]; it needs one with a type")
        if isinstance(controls[index], dict):
            controls[index][key] = value
    return merged


def without_long_strings(
    fields: dict[str, Any], placeholder: str
) -> tuple[dict[str, Any], dict[str, LongString]]:
    """The fields with every long picture in base64 replaced by `placeholder`, and these pictures by
    their names. Other long strings are cut."""
    inline = _long_base64(fields)
    replaced = shortened(fields) | dict.fromkeys(inline, placeholder)
    if isinstance(replaced.get("loras"), list):
        replaced["loras"] = [
            shortened(element) if isinstance(element, dict) else element
            for element in _without_texts(replaced["loras"])
        ]
    controls = replaced.get(CONTROLS)
    if isinstance(controls, list):
        elements = _without_texts(controls)
        for index, element in enumerate(elements[:CONTROLS_MAX]):
            if isinstance(element, dict):
                own = _long_base64(element)
                elements[index] = shortened(element) | dict.fromkeys(own, placeholder)
                inline |= {f"{CONTROLS}[{index}].{key}": text for key, text in own.items()}
        replaced[CONTROLS] = elements
    return replaced, inline


def _without_texts(elements: list[Any]) -> list[Any]:
    """The elements of a list of objects; of a long text only its beginning."""
    return [element.text(1) if isinstance(element, LongString) else element for element in elements]


def _long_base64(fields: dict[str, Any]) -> dict[str, LongString]:
    return {
        name: value
        for name, value in fields.items()
        if name in PICTURE_FIELDS and isinstance(value, LongString) and value.may_be_base64
    }

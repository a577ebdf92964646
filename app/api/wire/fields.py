"""The types of parameters in request bodies: which values they accept, and what the OpenAPI
document says of them. Knows no parameter.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from models.geometry import MAX_SIDE, MIN_SIDE
from models.spec import CONTROL_NAMES

LONE_SURROGATE = "lone_surrogate"
"""Type of the error of a text with half of a surrogate pair; the message is its escape."""

WRONG_LENGTH = "wrong_length"
"""Type of the error of a list with too few or too many elements."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a boolean")
    return value


def _no_surrogates(value: object) -> object:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            surrogate = value[error.start]
            raise PydanticCustomError(LONE_SURROGATE, f"\\u{ord(surrogate):04x}") from None
    return value


def one_of(names: tuple[str, ...]) -> FieldInfo:
    """A string of a fixed set, which the OpenAPI document and the error text list."""
    pattern = "^(" + "|".join(names) + ")$"
    info: FieldInfo = Field(pattern=pattern, json_schema_extra={"enum": list(names)})
    return info


def length_limited(least: int, most: int) -> BeforeValidator:
    """A list of least to most elements. Another length is refused before the elements, because
    there is an error for each of them; pydantic's own limits count the valid elements only."""

    def check(value: object) -> object:
        if isinstance(value, list) and not least <= len(value) <= most:
            raise PydanticCustomError(WRONG_LENGTH, "a list of this length")
        return value

    return BeforeValidator(check)


Integer = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Text = Annotated[str, BeforeValidator(_no_surrogates)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE), BeforeValidator(_no_boolean)]
Level = Annotated[int, Field(ge=0, le=255), BeforeValidator(_no_boolean)]
ControlType = Annotated[str, one_of(CONTROL_NAMES)]


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a body, without references: in the OpenAPI document they would point to
    other places."""
    schema = kind.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(definitions[part["$ref"].rpartition("/")[2]])
        return {name: resolved(item) for name, item in part.items()}

    return {name: resolved(part) for name, part in schema.items()}

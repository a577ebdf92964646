"""Converts frozen dataclasses to JSON and back, also JSON of another version of this server.

During an upgrade or a roll-back two versions share one Redis and one database, so a field that the
other version has added must not keep this version from reading the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Stored = TypeVar("Stored", bound="DataclassInstance")

_UNKNOWN = "unknown_fields"
"""A class with a field of this name, a mapping, keeps the fields that it does not know there."""


def from_stored(cls: type[Stored], text: str | bytes) -> Stored:
    """from_dict() of a JSON text."""
    return from_dict(cls, json.loads(text))


def from_dict(cls: type[Stored], values: Mapping[str, Any]) -> Stored:
    """Fields that a later version added are unknown here: they are left out, or kept in
    `unknown_fields`. Fields that an earlier version did not store must have defaults."""
    names, keeps_unknown = _fields(cls)
    if values.keys() <= names.keys():
        return cls(**values)
    known = {name: value for name, value in values.items() if name in names}
    if keeps_unknown:
        known[_UNKNOWN] = {name: value for name, value in values.items() if name not in names}
    return cls(**known)


def to_dict(value: DataclassInstance) -> dict[str, Any]:
    """The inverse of from_dict(): the fields in their order, then the unknown ones."""
    names, keeps_unknown = _fields(type(value))
    stored = {name: getattr(value, name) for name in names}
    return stored | getattr(value, _UNKNOWN) if keeps_unknown else stored


@cache
def _fields(cls: type[DataclassInstance]) -> tuple[Mapping[str, None], bool]:
    """The names of the stored fields as the keys of a dict, which keeps their order; and whether
    the class keeps unknown fields."""
    names = dict.fromkeys(field.name for field in fields(cls))
    keeps_unknown = _UNKNOWN in names
    names.pop(_UNKNOWN, None)
    return names, keeps_unknown

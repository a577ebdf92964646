"""Reads dataclasses that were stored as JSON, perhaps by another version of this server.

While an upgrade or a roll-back is under way two versions share one Redis and one database, so what
the other one has added must not keep this one from reading the rest. Does not store.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Stored = TypeVar("Stored", bound="DataclassInstance")


def from_stored(cls: type[Stored], text: str | bytes) -> Stored:
    """Unknown fields, of a later version, are left out; fields that an earlier version did not
    store must have defaults."""
    known = {field.name for field in fields(cls)}
    return cls(**{name: value for name, value in json.loads(text).items() if name in known})

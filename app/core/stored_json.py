"""Reads dataclasses that were stored as JSON, perhaps by another version of this server.

During an upgrade or a roll-back, two versions share one Redis and one database. Each must read the
records of the other. Does not write.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Stored = TypeVar("Stored", bound="DataclassInstance")


def from_stored(cls: type[Stored], text: str | bytes) -> Stored:
    """Drops unknown fields (of a later version). Fields that an earlier version did not store need
    defaults."""
    known = {field.name for field in fields(cls)}
    return cls(**{name: value for name, value in json.loads(text).items() if name in known})

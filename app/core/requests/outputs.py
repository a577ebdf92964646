"""One finished picture as everybody is told of it: in a result and by a webhook alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict


class Picture(TypedDict):
    url: str
    content_type: str
    file_name: str
    file_size: int
    width: int
    height: int
    seed: str


def told(made: Mapping[str, Any], url: str) -> Picture:
    """made: an output of a record (worker/finish.py), which knows more than is told here."""
    return {
        "url": url,
        "content_type": made["content_type"],
        "file_name": made["file_name"],
        "file_size": made["file_size"],
        "width": made["width"],
        "height": made["height"],
        "seed": str(made["seed"]),
    }

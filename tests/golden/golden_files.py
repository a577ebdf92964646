"""Reads the reference numbers; see README.md for what they are."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@cache
def load(name: str) -> dict[str, Any]:
    with gzip.open(DATA / f"{name}.json.gz", "rt") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded

"""Reads accepted.toml: the survivors that are no gap in the tests, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tools.mutation.mutants import Mutant

FILE = Path(__file__).with_name("accepted.toml")


class Place(NamedTuple):
    """A mutant as a person sees it, wherever its line stands today."""

    path: str
    operator: str
    before: str
    after: str


def place(mutant: Mutant) -> Place:
    return Place(mutant.path, mutant.operator, mutant.before, mutant.after)


def read_accepted(file: Path = FILE) -> dict[Place, str]:
    """The reasons, by the places. Each field of an entry must be there, the reason with words."""
    accepted = {}
    for entry in tomllib.loads(file.read_text()).get("mutant", []):
        reason = entry.pop("reason")
        if not reason.strip():
            raise ValueError(f"{file.name}: no reason for {entry}")
        accepted[Place(**entry)] = reason
    return accepted


def stale(accepted: Iterable[Place], mutants: Iterable[Mutant]) -> list[Place]:
    """The entries for the files of these mutants that match none of them."""
    paths = {mutant.path for mutant in mutants}
    places = {place(mutant) for mutant in mutants}
    return [entry for entry in accepted if entry.path in paths and entry not in places]

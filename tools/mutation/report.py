"""Formats the report: survivors as diffs, and the table by module."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from tools.mutation.mutants import Mutant
from tools.mutation.results import Result

_COLUMNS = ("mutants", "killed", "timed out", "survived", "equivalent")


def survivor(mutant: Mutant, result: Result) -> str:
    """The difference, and an entry of accepted.toml that lacks only its reason."""
    fields = dict(path=mutant.path, operator=mutant.operator, before=mutant.before)
    fields |= dict(after=mutant.after, reason="")
    entry = "\n".join(f"# {name} = {json.dumps(text)}" for name, text in fields.items())
    return f"# {mutant.path}:{mutant.line} {result.seconds:g} s\n{entry}\n{mutant.diff()}"


def verdict(result: Result, is_accepted: bool) -> str:
    return "equivalent" if result.verdict == "survived" and is_accepted else result.verdict


def table(verdicts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Markdown rows from pairs of path and verdict. The score is what was noticed of what could
    have been; an edit that is no Python any more is no mutant."""
    by_path: dict[str, Counter[str]] = {}
    for path, kind in verdicts:
        if kind != "invalid":
            by_path.setdefault(path, Counter())[kind] += 1
    yield "| module | mutants | killed | timed out | survived | equivalent | score |"
    yield "|---|---|---|---|---|---|---|"
    for path, counts in sorted(by_path.items()):
        yield _row(f"`{path}`", counts)
    yield _row("all", sum(by_path.values(), Counter()))


def _row(name: str, counts: Counter[str]) -> str:
    counts = counts | Counter(mutants=counts.total())
    possible = counts["mutants"] - counts["equivalent"]
    noticed = counts["killed"] + counts["timed out"]
    score = f"{100 * noticed / possible:.0f} %" if possible else "-"
    return f"| {name} | {' | '.join(str(counts[column]) for column in _COLUMNS)} | {score} |"

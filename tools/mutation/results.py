"""Owns the stored results of mutants, one JSON object a line in .mutation/results.jsonl.

The key is the content of the module, the content of its tests, and the edit. Each line is readable
by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.mutation.imports import conftests
from tools.mutation.mutants import Mutant

FOLDER = ".mutation"


@dataclass(frozen=True, slots=True)
class Result:
    key: str
    verdict: str
    path: str
    line: int
    operator: str
    before: str
    after: str
    test: str
    seconds: float


class Results:
    def __init__(self, root: Path) -> None:
        self._file = root / FOLDER / "results.jsonl"
        self._results: dict[str, Result] = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                result = Result(**json.loads(line))
                self._results[result.key] = result

    def get(self, key: str) -> Result | None:
        return self._results.get(key)

    def add(self, key: str, mutant: Mutant, verdict: str, test: str, seconds: float) -> Result:
        result = Result(
            key=key,
            verdict=verdict,
            path=mutant.path,
            line=mutant.line,
            operator=mutant.operator,
            before=mutant.before,
            after=mutant.after,
            test=test,
            seconds=round(seconds, 2),
        )
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("a") as file:  # two runs side by side append to the same file
            file.write(json.dumps(asdict(result)) + "\n")
        self._results[key] = result
        return result


def digest(root: Path, tests: Iterable[str]) -> str:
    """Of the test files and of the fixtures above them."""
    files = sorted({path for test in tests for path in [test, *conftests(root, test)]})
    contents = b"".join((root / path).read_bytes() for path in files)
    return hashlib.sha256(repr(files).encode() + contents).hexdigest()

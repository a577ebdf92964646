"""The mutants of a file, in the order of their places."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import parso

from tools.mutation.lua import Edit, lua_edits
from tools.mutation.python_operators import Source, python_edits

UNCHANGED = Edit("Unchanged", 0, 0, "")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of a module. path: below the root of the repository."""

    path: str
    source: str
    edit: Edit

    @property
    def operator(self) -> str:
        return self.edit.operator

    @property
    def line(self) -> int:
        replaced = self.source[self.edit.start : self.edit.end]
        blank = len(replaced) - len(replaced.lstrip())
        return self.source.count("\n", 0, self.edit.start + blank) + 1

    @property
    def mutated(self) -> str:
        return self.source[: self.edit.start] + self.edit.replacement + self.source[self.edit.end :]

    @property
    def before(self) -> str:
        """The lines that the edit changes, on one line."""
        return self._changed("-")

    @property
    def after(self) -> str:
        return self._changed("+")

    def diff(self) -> str:
        before, after = (text.splitlines(keepends=True) for text in (self.source, self.mutated))
        names = f"a/{self.path}", f"b/{self.path}"
        return "".join(difflib.unified_diff(before, after, *names, n=1))

    def key(self, tests: str) -> str:
        """The same for the same mutant of the same module, run by the same tests (their digest)."""
        parts = repr((self.path, self.source, tuple(self.edit), tests))
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def _changed(self, sign: str) -> str:
        lines = self.diff().splitlines()[3:]
        return " ".join(line[1:].strip() for line in lines if line.startswith(sign)).strip()


def mutants_of(root: Path, path: str) -> list[Mutant]:
    text = (root / path).read_text()
    edits = set(lua_edits(text) if path.endswith(".lua") else _of_python(text))
    by_place = sorted(
        edits, key=lambda edit: (edit.start, edit.end, edit.operator, edit.replacement)
    )
    return [Mutant(path, text, edit) for edit in by_place]


def _of_python(text: str) -> Iterator[Edit]:
    return python_edits(parso.parse(text), Source(text))

"""Lists the tests of the files that differ from a revision, for `scripts/test changed`.

    python -m tools.changed_tests [REVISION]

A test file is its own test. A module of app, worker or models has the tests that
tools/mutation/mapping.py names, so the whole suite is still what proves a change. A file of the
playground has the browser tests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.mutation.mapping import PACKAGES, importers, mapped_tests

PLAYGROUND = "app/playground/"


def changed_tests(root: Path, changed: Iterable[str]) -> list[str]:
    """Test files and folders for changed paths; a deleted path has none."""
    tests: dict[str, None] = {}
    for path in changed:
        if path.startswith(PLAYGROUND):
            tests["tests/browser"] = None
        if path.endswith(".py") and (root / path).is_file():
            tests.update(dict.fromkeys(_tests_of(root, path)))
    return list(tests)


def _tests_of(root: Path, path: str) -> Iterable[str]:
    file = Path(path)
    if file.name == "conftest.py":
        return [str(file.parent)]
    if file.name.startswith("test_"):
        return [path]
    if file.parts[0] in PACKAGES:
        return mapped_tests(root, path)
    return importers(root, path, "tests/**/test_*.py")


def _changed_since(revision: str) -> list[str]:
    """The files that differ from the merge base with the revision, and untracked files."""
    base = _git("merge-base", revision, "HEAD")[0]
    return [
        *_git("diff", "--name-only", base),
        *_git("ls-files", "--others", "--exclude-standard"),
    ]


def _git(*arguments: str) -> list[str]:
    command = ["git", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


if __name__ == "__main__":
    print(*changed_tests(Path(), _changed_since(*sys.argv[1:] or ["main"])), sep="\n")

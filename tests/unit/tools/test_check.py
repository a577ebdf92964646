"""scripts/check with stubs of the tools that it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[3]
PARTS = {"types", "imports", "style", "format", "spelling", "links", "lock"}


def stand_in(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check", tmp_path / "scripts" / "check")
    stand_in(tmp_path / "scripts" / "setup", "true")
    for tool in ("ruff", "mypy", "lint-imports", "codespell", "python"):
        stand_in(tmp_path / ".venv" / "bin" / tool, "true")
    return tmp_path


def check(folder: Path, *parts: str) -> tuple[int, list[str]]:
    command = ["bash", str(folder / "scripts" / "check"), *parts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def passed(lines: list[str]) -> set[str]:
    return {line.split()[1] for line in lines if " passed, " in line}


def test_a_check_without_faults_passes_every_part(folder: Path) -> None:
    code, lines = check(folder)
    assert (code, passed(lines)) == (0, PARTS)


def test_every_part_that_fails_is_shown_with_its_output(folder: Path) -> None:
    stand_in(folder / ".venv" / "bin" / "mypy", "echo a wrong type; exit 1")
    stand_in(folder / ".venv" / "bin" / "codespell", "echo a wrong word >&2; exit 65")
    code, lines = check(folder)
    assert code == 1
    assert passed(lines) == PARTS - {"types", "spelling"}
    assert lines[lines.index("check: types FAILED") + 1] == "    a wrong type"
    assert lines[lines.index("check: spelling FAILED") + 1] == "    a wrong word"
    assert lines[-1] == "check: 2 of 7 parts failed: types spelling"


@pytest.mark.parametrize(
    ("tool", "failing"),
    [
        ("ruff", {"style", "format"}),
        ("mypy", {"types"}),
        ("lint-imports", {"imports"}),
        ("codespell", {"spelling"}),
        ("python", {"links", "lock"}),
    ],
)
def test_a_check_fails_when_one_tool_does(folder: Path, tool: str, failing: set[str]) -> None:
    stand_in(folder / ".venv" / "bin" / tool, "exit 1")
    code, lines = check(folder)
    assert (code, passed(lines)) == (1, PARTS - failing)


def test_parts_can_be_named(folder: Path) -> None:
    code, lines = check(folder, "links", "style")
    assert (code, passed(lines), len(lines)) == (0, {"links", "style"}, 2)


def test_an_unknown_part_is_refused(folder: Path) -> None:
    code, lines = check(folder, "links", "nonsense")
    assert (code, lines[-1]) == (1, "check: 1 of 2 parts failed: nonsense")

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools.checks.lock import main

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.lock", "requirements-api.lock", "requirements-worker.lock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the files that the check compares."""
    for name in ("pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    code = main(folder)
    lines = capsys.readouterr().out.splitlines()
    assert code == (1 if lines else 0)
    return lines[:-1]


def test_the_locks_are_fresh(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(folder, capsys) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"rq>=3.0,', '"new-thing", "rq>=3.0,', "new-thing is not locked; pyproject.toml needs it"),
        ('"mypy>=', '"New_Thing>=2", "mypy>=', "new-thing is not locked; pyproject.toml needs it"),
        ("psycopg[binary]", "psycopg[pool]", "psycopg-pool is not locked; psycopg needs it"),
        ("psycopg[binary]", "psycopg", "psycopg-binary is locked and nothing needs it"),
        ('    "codespell>=2.4,<3",\n', "", "codespell is locked and nothing needs it"),
    ],
)
def test_a_lock_without_the_last_change_of_pyproject_is_a_fault(
    folder: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, fault: str
) -> None:
    change(folder / "pyproject.toml", before, after)
    assert f"requirements.lock: {fault}" in faults(folder, capsys)


def test_a_package_that_another_one_needs_may_stay_in_the_lock(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder / "pyproject.toml", '    "httpx>=0.28,<0.29",\n', "")  # segmind needs it
    assert faults(folder, capsys) == []


def test_a_locked_version_that_pyproject_no_longer_allows_is_a_fault(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder / "pyproject.toml", '"rq>=3.0,<3.1"', '"rq>=999"')
    found = faults(folder, capsys)
    assert len(found) == 3  # in each lock
    assert all(re.search(r": rq is locked as [0-9.]+, not >=999$", line) for line in found)


def test_the_versions_for_each_python_are_all_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = folder / "requirements.lock"
    lock.write_text(
        re.sub(r"^numpy==\S+ ;", "numpy==1.26 ;", lock.read_text(), count=1, flags=re.MULTILINE)
    )
    assert faults(folder, capsys) == ["requirements.lock: numpy is locked as 1.26, not >=2"]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_lock_is_compared(folder: Path, capsys: pytest.CaptureFixture[str], lock: str) -> None:
    change(folder / lock, "\nannotated-types==", "\nsomething-else==")
    assert faults(folder, capsys) == [
        f"{lock}: annotated-types is not locked; pydantic needs it",
        f"{lock}: something-else is locked and nothing needs it",
    ]


def test_a_package_for_another_system_belongs_in_the_lock(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder / "requirements.lock", "\ncolorama==", "\nsomething-else==")
    assert "requirements.lock: colorama is not locked; " in faults(folder, capsys)[0]

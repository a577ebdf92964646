"""A mutant in a forked process: its tests see it, the disk never does, and no process is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.mutation.lua import Edit
from tools.mutation.mutants import UNCHANGED, Mutant, mutants_of
from tools.mutation.running import Outcome, Run, run_all

# Python 3.12 warns of a fork beside threads; those of a parallel run of this suite only wait.
pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

MODULE = "def double(n):\n    return n + n\n"
TESTS = """
from app.doubling import double

def test_it_doubles_in_this_process():
    assert double(3) == 6
"""
IN_A_CHILD = """
import os, subprocess, sys

def test_it_doubles_in_a_process_of_its_own():
    code = "from app.doubling import double; print(double(3))"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout == b"6\\n"
"""
LEAVES_A_PROCESS = """
import os, pathlib, sys

def test_it_passes():
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    pid = os.posix_spawn(sys.executable, command, os.environ, setsid=True)
    pathlib.Path("pid").write_text(str(pid))
"""
IN_ORDER = """
from app.doubling import double

def note(name):
    with open("order", "a") as file:
        file.write(name + " ")

def test_passes():
    note("passes")

def test_fails():
    note("fails")
    assert double(3) == 6
"""
HANGS = """
while True:
    pass
"""


def write(root: Path, tests: str) -> None:
    (root / "app").mkdir(exist_ok=True)
    (root / "pyproject.toml").touch()
    (root / "app" / "doubling.py").write_text(MODULE)
    (root / "test_doubling.py").write_text(tests)


def run(root: Path, tests: str, edit: Edit | None = None, limit_s: float = 60) -> Outcome:
    """The verdict of the tests on a mutant, by default the first one."""
    write(root, tests)
    mutant = mutants_of(root, "app/doubling.py")[0]
    if edit is not None:
        mutant = Mutant(mutant.path, mutant.source, edit)
    runs = [Run(("test_doubling.py",), mutant, limit_s)]
    (outcome,) = run_all(root, runs, jobs=1)
    assert (root / "app" / "doubling.py").read_text() == MODULE
    return outcome


@pytest.mark.parametrize("tests", [TESTS, IN_A_CHILD], ids=["here", "in a child"])
def test_a_mutant_is_killed_by_the_test_that_sees_it(tmp_path: Path, tests: str) -> None:
    outcome = run(tmp_path, tests)
    assert outcome.verdict == "killed"
    assert outcome.test.startswith("test_doubling.py::test_it_doubles_in_")


@pytest.mark.parametrize("tests", [TESTS, IN_A_CHILD], ids=["here", "in a child"])
def test_the_code_as_it_is_survives(tmp_path: Path, tests: str) -> None:
    outcome = run(tmp_path, tests, UNCHANGED)
    assert (outcome.verdict, outcome.test) == ("survived", "")


def test_the_modules_that_the_tests_imported_are_known(tmp_path: Path) -> None:
    assert "app.doubling" in run(tmp_path, TESTS, UNCHANGED).modules
    assert "app.doubling" not in run(tmp_path, IN_A_CHILD, UNCHANGED).modules


def test_an_edit_that_is_no_python_is_invalid(tmp_path: Path) -> None:
    assert run(tmp_path, TESTS, Edit("Other", 0, 3, "dfe")).verdict == "invalid"


def test_a_module_that_cannot_be_imported_is_killed(tmp_path: Path) -> None:
    assert run(tmp_path, TESTS, Edit("Other", 0, 0, "1 / 0\n")).verdict == "killed"


def test_the_test_that_killed_a_mutant_runs_first_on_the_next(tmp_path: Path) -> None:
    write(tmp_path, IN_ORDER)
    mutant = mutants_of(tmp_path, "app/doubling.py")[0]
    runs = [Run(("test_doubling.py",), mutant)] * 2
    assert [outcome.verdict for outcome in run_all(tmp_path, runs, jobs=1)] == ["killed"] * 2
    assert (tmp_path / "order").read_text().split() == ["passes", "fails", "fails"]


def test_a_mutant_that_hangs_has_timed_out(tmp_path: Path) -> None:
    assert run(tmp_path, HANGS, limit_s=0.5).verdict == "timed out"


def test_no_process_that_a_test_started_is_left(tmp_path: Path) -> None:
    assert run(tmp_path, LEAVES_A_PROCESS).verdict == "survived"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)

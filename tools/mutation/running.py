"""Runs tests in processes that are forked from this one, which has loaded the libraries already.

Two processes share the work. Each forks a child a run, waits for it, and ends whatever the child
has left behind: servers that its fixtures started too, as orphans fall to the nearest reaper. None
of our own modules may be imported in the process that forks.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.config import default_plugins

from tools.mutation.hook import hook_of
from tools.mutation.imports import Import
from tools.mutation.mapping import PACKAGES
from tools.mutation.mutants import Mutant

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PLUGINS = ("pytest_timeout", "_hypothesis_pytestplugin")  # what pyproject.toml and the tests need
_CLEAN_LIMIT_S = 600.0

PYTEST = [
    *(Import(f"_pytest.{name}", None) for name in default_plugins),
    *(Import(name, None) for name in ("hypothesis", "pdb", "pytest_timeout")),
]
"""What every run of pytest imports."""


_killers: defaultdict[str, set[str]] = defaultdict(set)
"""In a process of the pool: the tests that have killed mutants of a module, by its path."""


@dataclass(frozen=True, slots=True)
class Run:
    """Tests to run on a mutant; on the code as it is when the mutant's edit is UNCHANGED."""

    tests: tuple[str, ...]
    mutant: Mutant
    limit_s: float = _CLEAN_LIMIT_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """verdict: killed, timed out, survived or invalid. test: the first that failed; output: the
    last lines; modules: those of ours that were imported."""

    run: Run
    verdict: str
    seconds: float
    test: str = ""
    modules: frozenset[str] = frozenset()
    output: str = ""


def run_all(root: Path, runs: Iterable[Run], jobs: int) -> Iterator[Outcome]:
    """The outcomes as they come. From the code as it is, "survived" is what it should be."""
    with _pool(root, jobs) as pool:
        yield from pool.imap_unordered(_run, runs)


@contextmanager
def _pool(root: Path, jobs: int) -> Iterator[Pool]:
    pool = multiprocessing.get_context("fork").Pool(jobs, _prepare, (root,))
    try:
        yield pool
        pool.close()
    finally:
        pool.terminate()
        pool.join()


def _prepare(root: Path) -> None:
    """A process of the pool: its descendants are its own to end, and it ends with its parent."""
    os.chdir(root)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(run: Run) -> Outcome:
    if not run.mutant.path.endswith(".lua"):
        try:
            compile(run.mutant.mutated, run.mutant.path, "exec", dont_inherit=True)
        except SyntaxError:
            return Outcome(run, "invalid", 0.0)
    folder = Path(tempfile.mkdtemp(prefix="m-"))
    folder.chmod(0o755)  # as root, tests start PostgreSQL as another user
    begun = time.monotonic()
    try:
        pid = os.fork()
        if pid == 0:
            _child(run, folder)
        ended = _wait(pid, run.limit_s)
        seconds = time.monotonic() - begun
    finally:
        _end_descendants()
        report = _report(folder)
        shutil.rmtree(folder, ignore_errors=True)
    if not ended:
        return Outcome(run, "timed out", seconds, output=report.get("output", ""))
    verdict = "survived" if report.get("code") == 0 else "killed"
    modules = frozenset(report.get("modules", ()))
    if verdict == "killed":
        _killers[run.mutant.path].add(report.get("test", ""))
    return Outcome(run, verdict, seconds, report.get("test", ""), modules, report["output"])


def _wait(pid: int, limit_s: float) -> bool:
    """Whether the child ended in time."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], limit_s)[0])
    finally:
        os.close(descriptor)


def _end_descendants() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := [int(pid) for pid in children.read_text().split()]:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = {"output": ""}
    with suppress(OSError, ValueError):  # a child that was killed has written none
        report["output"] = (folder / "output").read_text(errors="replace")[-4000:]
        report |= json.loads((folder / "report").read_text())
    return report


class _Watch:
    """A plugin of pytest: which test failed first. Tests that have killed other mutants of the
    module run before the others, since most mutants of a module die in a few of its tests."""

    def __init__(self, killers: set[str]) -> None:
        self.test = ""
        self._killers = killers

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.nodeid not in self._killers)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid


def _child(run: Run, folder: Path) -> NoReturn:
    """Everything that the tests change is this process' own, so nothing is put back."""
    code = 3
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.environ |= {"TMPDIR": str(folder), "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
        tempfile.tempdir = None
        mutant, watch = run.mutant, _Watch(_killers[run.mutant.path])
        hook_of(Path.cwd(), mutant.path, mutant.mutated).install(folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # looking for them takes a while
        code = pytest.main(
            [
                *("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
                *(part for plugin in _PLUGINS for part in ("-p", plugin)),
                # The libraries are loaded already, on purpose.
                *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
                *run.tests,
            ],
            plugins=[watch],
        )
        modules = [name for name in sys.modules if name.split(".")[0] in PACKAGES]
        report = {"code": int(code), "test": watch.test, "modules": modules}
        (folder / "report").write_text(json.dumps(report))
    # Whatever it is, this process must not go on as a copy of its parent.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)

"""The command scripts/mutate."""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# Before numpy and torch are imported: their threads do not survive a fork.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

from tools.mutation.accepted import place, read_accepted, stale
from tools.mutation.hook import hooked_module
from tools.mutation.imports import Import, libraries, load
from tools.mutation.mapping import PACKAGES, mapped_tests
from tools.mutation.mutants import UNCHANGED, Mutant, mutants_of
from tools.mutation.report import survivor, table, verdict
from tools.mutation.results import Result, Results, digest
from tools.mutation.running import PYTEST, Run, run_all

ROOT = Path(__file__).resolve().parents[2]
_LEAST_LIMIT_S = 10.0
_LIMIT_OF_CLEAN = 10
_SUFFIXES = (".py", ".lua")
_HEAVY = {"torch", "diffusers", "transformers"}


def main() -> int:
    options = _options()
    mutants = [mutant for path in _files(options.paths) for mutant in mutants_of(ROOT, path)]
    if options.sample is not None:
        count = min(options.sample, len(mutants))
        mutants = random.Random(options.seed).sample(mutants, count)
    session = Session(mutants)
    if options.list:
        for mutant in mutants:
            _say(
                f"{mutant.path}:{mutant.line} {mutant.operator}: {mutant.before} -> {mutant.after}"
            )
    elif not (options.survivors or options.table):
        session.run(options.jobs)
    session.report(options.survivors)
    return 1 if session.faults else 0


class Session:
    """The mutants of one call, with what is known of them."""

    def __init__(self, mutants: list[Mutant]) -> None:
        self.faults = 0
        self._mutants = mutants
        self._results = Results(ROOT)
        self._accepted = read_accepted()
        self._tests = {
            path: mapped_tests(ROOT, path) for path in {mutant.path for mutant in mutants}
        }
        self._digests = {path: digest(ROOT, tests) for path, tests in self._tests.items()}

    def run(self, jobs: int) -> None:
        """Those that have not been run, of modules without torch first: a process that has loaded
        it forks slower and is not what their tests expect."""
        waiting = [mutant for mutant in self._mutants if self._result(mutant) is None]
        for mutant in waiting:
            if not self._tests[mutant.path]:
                self._results.add(self._key(mutant), mutant, "survived", "no unit test", 0.0)
        waiting = [mutant for mutant in waiting if self._tests[mutant.path]]
        needed = {path: libraries(ROOT, self._tests[path]) for path in {m.path for m in waiting}}
        for heavy in (False, True):
            group = [mutant for mutant in waiting if _is_heavy(needed[mutant.path]) == heavy]
            if group:
                load(frozenset(PYTEST).union(*(needed[mutant.path] for mutant in group)))
                gc.collect()
                gc.freeze()  # else the first collection in a child copies every page
                self._run_group(group, jobs)

    def _run_group(self, group: list[Mutant], jobs: int) -> None:
        limits = self._clean(group, jobs)
        runs = [
            Run(tests, mutant, limits[tests])
            for mutant in group
            if (tests := self._tests[mutant.path]) in limits
        ]
        begun = time.monotonic()
        for done, outcome in enumerate(run_all(ROOT, runs, jobs), 1):
            mutant = outcome.run.mutant
            result = self._results.add(
                self._key(mutant), mutant, outcome.verdict, outcome.test, outcome.seconds
            )
            kind = verdict(result, place(mutant) in self._accepted)
            rest = (time.monotonic() - begun) / done * (len(runs) - done)
            if kind not in ("killed", "invalid") or done % 50 == 0:
                _say(f"{done}/{len(runs)}, {rest:.0f} s left: {kind} {mutant.path}:{mutant.line}")

    def _clean(self, group: list[Mutant], jobs: int) -> dict[tuple[str, ...], float]:
        """How long a run of each set of tests may take, once they have passed on the code as it
        is. Loaded like the mutants' own runs, through the same hook."""
        by_tests: dict[tuple[str, ...], list[Mutant]] = {}
        for mutant in {mutant.path: mutant for mutant in group}.values():
            by_tests.setdefault(self._tests[mutant.path], []).append(mutant)
        clean = [
            Run(tests, Mutant(first.path, first.source, UNCHANGED))
            for tests, (first, *_) in by_tests.items()
        ]
        limits = {}
        for outcome in run_all(ROOT, clean, jobs):
            tests = outcome.run.tests
            if outcome.verdict != "survived":
                self.faults += 1
                _say(f"{' '.join(tests)}: {outcome.verdict} without a mutant\n{outcome.output}")
                continue
            limits[tests] = max(_LEAST_LIMIT_S, _LIMIT_OF_CLEAN * outcome.seconds)
            _say(f"clean: {outcome.seconds:.1f} s, {' '.join(tests)}")
            for mutant in by_tests[tests]:
                if hooked_module(mutant.path) not in outcome.modules:
                    _say(f"{mutant.path}: not imported by its tests in their own process")
        return limits

    def report(self, survivors: bool) -> None:
        known = [(mutant, result) for mutant in self._mutants if (result := self._result(mutant))]
        verdicts = []
        for mutant, result in known:
            kind = verdict(result, place(mutant) in self._accepted)
            verdicts.append((mutant.path, kind))
            if survivors and kind == "survived":
                _say(survivor(mutant, result))
            elif kind == "killed" and place(mutant) in self._accepted:
                _say(f"accepted.toml: {mutant.path}:{mutant.line} {mutant.operator} is killed")
        for entry in stale(self._accepted, self._mutants):
            self.faults += 1
            _say(f"accepted.toml: no such mutant: {entry}")
        if not survivors:
            for row in table(verdicts):
                _say(row)
            _say(f"\n{len(known)} of {len(self._mutants)} mutants were run.")

    def _key(self, mutant: Mutant) -> str:
        return mutant.key(self._digests[mutant.path])

    def _result(self, mutant: Mutant) -> Result | None:
        return self._results.get(self._key(mutant))


def _is_heavy(needed: Iterable[Import]) -> bool:
    return any(imported.module.split(".")[0] in _HEAVY for imported in needed)


def _files(paths: list[Path]) -> Iterator[str]:
    for path in paths or [ROOT / package for package in PACKAGES]:
        files = sorted(path.resolve().rglob("*")) if path.is_dir() else [path.resolve()]
        yield from (str(file.relative_to(ROOT)) for file in files if file.suffix in _SUFFIXES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="modules or folders; all by default")
    parser.add_argument("--sample", type=int, metavar="N", help="N of the mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--list", action="store_true", help="print the mutants and run none")
    parser.add_argument(
        "--survivors", action="store_true", help="print those found by earlier runs"
    )
    parser.add_argument("--table", action="store_true", help="print the table of earlier runs")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Without the orderly end, in which libraries that torch has loaded report their own leaks.
    os._exit(code)

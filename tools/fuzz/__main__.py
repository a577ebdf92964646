"""Time-boxed fuzzing: the targets of tests/support/fuzzing.py, with new inputs in every round.

Ends with the figures of docs/security.md, or with the smallest input that breaks a rule.
Rounds are numbered; `--seed N` starts with round N again.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import time
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from tests.support.fuzzing import TARGETS, Target

_ROUND = settings(
    max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
_ADDRESS_SPACE = 1024**3  # a quarter of what a work horse has, for a 64th of the pixels


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    faulthandler.enable()  # a decoder that crashes should say where
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in TARGETS}
    spent = dict.fromkeys(TARGETS, 0.0)
    number = arguments.seed
    while sum(spent.values()) < arguments.seconds:
        name = min(spent, key=spent.__getitem__)
        print(f"round {number}: {name}", file=sys.stderr)
        start = time.monotonic()
        _round(TARGETS[name], number, outcomes[name])
        spent[name] += time.monotonic() - start
        number += 1
    _report(outcomes, sum(spent.values()))


def _round(target: Target, number: int, outcomes: Counter[str]) -> None:
    @seed(number)
    @_ROUND
    @given(target.inputs)
    def run(untrusted: Any) -> None:
        outcomes[target.run(untrusted)] += 1

    run()


def _report(outcomes: dict[str, Counter[str]], seconds: float) -> None:
    for name, counted in outcomes.items():
        print(f"{name}: {counted.total()} examples, {len(counted)} outcomes")
        for outcome, times in counted.most_common():
            print(f"  {times:8d}  {outcome}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.0f} s, at most {peak:.0f} MiB of memory, no find")


if __name__ == "__main__":
    main()

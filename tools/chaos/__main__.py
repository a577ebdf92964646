"""Injects faults under load and checks that every accepted request ends exactly once, correctly.

Usage: scripts/chaos [--only NAME] [--requests N] [--seed S] [--list] [--hosts]
Real processes and a stub of the model, no GPU; all scenarios take less than ten minutes. Prints the
table of docs/reliability.md and exits with 1 when a request is lost, doubled or wrong.
"""

from __future__ import annotations

import argparse
import sys
import time

from tools.chaos.scenarios import SCENARIOS
from tools.chaos.trial import Outcome, Scenario, run

_BOUND_S = 600.0
_HEAD = "| fault | accepted | completed | failed | lost | double | wrong | stood still (s) |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument(
        "--hosts",
        action="store_true",
        help="cut-host only, its hosts being network namespaces (root), with 50 requests",
    )
    options = parser.parse_args()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:14} {scenario.what}")
        return 0
    if options.hosts:
        options.only, options.requests = ["cut-host"], max(options.requests, 50)
    began, good = time.monotonic(), True
    print(_HEAD + "\n" + "|---" * _HEAD.count(" |") + "|", flush=True)
    for name in options.only or SCENARIOS:
        if time.monotonic() - began > _BOUND_S:
            print(f"chaos: ten minutes are over before {name}", file=sys.stderr)
            return 1
        scenario = SCENARIOS[name]
        outcome = run(scenario, options.requests, options.seed, options.hosts)
        print(row(scenario, outcome), flush=True)
        good = good and outcome.verdict.good
        report(name, outcome)
    return 0 if good else 1


def row(scenario: Scenario, outcome: Outcome) -> str:
    verdict, standing = outcome.verdict, sorted(outcome.standing)
    still = f"{standing[0]:.1f} to {standing[-1]:.1f}" if standing else outcome.remark or "-"
    counts = (
        verdict.accepted,
        verdict.completed,
        verdict.failed,
        verdict.lost,
        verdict.double,
        verdict.wrong,
    )
    return f"| {scenario.what} | {' | '.join(map(str, counts))} | {still} |"


def report(name: str, outcome: Outcome) -> None:
    """Print the details to stderr, with the logs of the processes when a check failed."""
    print(f"{name}: {outcome.seconds:.0f} s, {outcome.refused} refusals", file=sys.stderr)
    if not outcome.verdict.good:
        print("\n".join([*outcome.verdict.faults, "log:", outcome.log]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

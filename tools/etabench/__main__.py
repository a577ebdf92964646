"""Measures how truthful the ETA is, in simulated time.

Usage: scripts/bench eta [--requests N] [--seed N] [--json FILE]
Replays mixed workloads (64 to 1024 pixels a side, 15 to 75 steps, two keys) on 1 to 3 workers of
each simulated device and prints the ratio of the actual to the estimated seconds. Takes half a
minute and no GPU. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from app.core.redis.connection import connect
from tests.support.servers import running_redis
from tools.etabench.devices import DEMO_ON_A_CORE, DEVICES
from tools.etabench.simulation import MOMENTS, Outcome, simulate
from tools.etabench.workloads import CASES, mixed

WORKERS = (1, 2, 3)
GOALS = {"submission": (0.5, 2.0), "start": (0.7, 1.4)}
"""Of the ratio, from its 10th to its 90th percentile."""


@dataclass(frozen=True, slots=True)
class Ratios:
    """actual / estimated at one moment. missing: requests without an estimate."""

    moment: str
    count: int
    missing: int
    p10: float
    p50: float
    p90: float

    @property
    def good(self) -> bool | None:
        """None for a moment without a goal."""
        if self.moment not in GOALS:
            return None
        low, high = GOALS[self.moment]
        return low <= self.p10 and self.p90 <= high


def ratios(outcomes: Sequence[Outcome], moment: str) -> Ratios:
    estimated = [
        (outcome.actual[moment], estimate)
        for outcome in outcomes
        if (estimate := outcome.estimates[moment]) is not None
    ]
    deciles = quantiles([actual / estimate for actual, estimate in estimated], n=10)
    missing = len(outcomes) - len(estimated)
    return Ratios(moment, len(estimated), missing, deciles[0], deciles[4], deciles[8])


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench eta")
    parser.add_argument("--requests", type=int, default=120, help="of each workload")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, cases = [], []
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as url:
        redis = connect(url)
        for name, device in DEVICES.items():
            for workers in WORKERS:
                arrivals = mixed(device, workers, options.requests, options.seed)
                outcomes = simulate(redis, device, workers, arrivals, options.seed)
                rows += [(name, workers, ratios(outcomes, moment)) for moment in MOMENTS]
        for title, case in CASES.items():
            last = simulate(redis, DEMO_ON_A_CORE, 1, case, options.seed)[-1]
            cases.append((title, last.estimates["submission"], last.actual["submission"]))
        redis.close()
    print_tables(rows, cases)
    if options.json:
        figures = [{"device": name, "workers": count, **asdict(of)} for name, count, of in rows]
        options.json.write_text(json.dumps({"ratios": figures, "cases": cases}, indent=2) + "\n")
    if any(of.good is False for _, _, of in rows):
        sys.exit(1)


def print_tables(
    rows: Iterable[tuple[str, int, Ratios]], cases: Iterable[tuple[str, float | None, float]]
) -> None:
    print("| device | workers | at | estimates | none | p10 | p50 | p90 | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, workers, of in rows:
        goal = {None: "", True: "holds", False: "missed"}[of.good]
        figures = f"{of.p10:.2f} | {of.p50:.2f} | {of.p90:.2f}"
        counts = f"{of.count} | {of.missing}"
        print(f"| {name} | {workers} | {of.moment} | {counts} | {figures} | {goal} |")
    print("\n| case | estimated s | actual s |\n|---|---|---|")
    for title, estimate, actual in cases:
        print(f"| {title} | {'-' if estimate is None else f'{estimate:.1f}'} | {actual:.1f} |")


if __name__ == "__main__":
    main()

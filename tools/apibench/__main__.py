"""Measures the api under load, on the loopback interface and without a GPU.

It measures polls against a bare endpoint, submissions, a long queue, memory, large bodies, and the
overhead of v1. Takes about four minutes.

Usage: scripts/bench api [--json FILE] [--quick]
The exit code is 1 when a figure misses its target. --quick: a short, inaccurate run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis import Redis

from app.core.accounts.api_keys import KeyStore, mint
from tools.apibench.bench import Bench
from tools.apibench.figures import memory, polls, queue_depth, submits, synchronous
from tools.apibench.large_bodies import large_bodies
from tools.apibench.rig import running, running_redis, wait_until_ready
from tools.apibench.streaming import STREAMS, streams

TARGETS = {
    "throughput_ratio": (">=", 0.7, "polls a second, against the bare endpoint"),
    "p99_ratio": ("<=", 5.0, "99th percentile of a poll, against the bare endpoint"),
    "stream_events_ratio": (">=", 1.0, f"events that {STREAMS} open streams heard, of all"),
    "stream_p99_ms": ("<=", 100.0, "99th percentile of an event's delay, milliseconds"),
    "stream_busy_p99_ms": ("<=", 1000.0, "the same beside as many polls as go through"),
    "stream_polls_ratio": (">=", 0.5, "polls a second beside the streams, against without"),
    "queue_ratio": ("<=", 1.2, "a submission behind 2,000 queued ones, against none"),
    "rss_ratio": ("<=", 1.05, "memory after 20,000 requests, against before"),
    "body_stall_ms": (
        "<=",
        150.0,
        "longest wait of others beside 60 MB bodies, milliseconds",
    ),
    "v1_beyond_p50_ms": ("<=", 100.0, "v1 beyond its generation, median, milliseconds"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if report(figures) else 1


def measure(quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 2.0) if quick else (5, 4.0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_redis(folder))
        settings = {"REDIS_URL": url, "DATA_DIR": str(folder), "MAX_QUEUED": "1000000"}
        settings["SOURCE_QUOTA_BYTES"] = str(10**12)  # nothing that is submitted here is prepared
        api = stack.enter_context(running("app.cli", "api", path="/health/live", **settings))
        bare = stack.enter_context(running("tools.apibench.bare", path="/keys", **settings))
        redis, secret = Redis.from_url(url), mint()
        # No api process runs maintenance: it would queue jobs for the synthetic records.
        redis.set("housekeeping", "bench", ex=3600)
        bench = Bench(api, bare, redis, secret, KeyStore(redis).add(secret, "bench").name)
        figures = polls(bench, rounds, seconds)
        figures |= streams(bench, seconds=4.0 if quick else 20.0)
        figures |= submits(bench, seconds)
        figures |= queue_depth(bench, rounds=2 if quick else 9, each=100)
        figures |= memory(bench)
        figures |= large_bodies(bench, rounds=2 if quick else 8)
        for kind in ("fetch", "cpu", "gpu", "finish"):
            stack.enter_context(running("app.cli", "worker", kind, path=None, **settings))
        wait_until_ready(api)
        return figures | synchronous(bench, runs=5 if quick else 22)


def report(figures: dict[str, Any]) -> bool:
    """Print the figures. True when every target is met."""
    print("| | per second | p50 ms | p99 ms | CPU us a request |\n|---|---|---|---|---|")
    for name in ("bare", "polls", "submits"):
        of = figures[name]
        print(
            f"| {name} | {of['per_second']:.0f} | {of['p50_ms']:.1f} | {of['p99_ms']:.1f} "
            f"| {of['cpu_us']:.0f} |"
        )
    print("\n| figure | value | target |\n|---|---|---|")
    met = True
    for name, (sign, target, words) in TARGETS.items():
        value = figures[name]
        good = value >= target if sign == ">=" else value <= target
        met &= good
        print(f"| {words} | {value:.2f}{'' if good else ' (missed)'} | {sign} {target:g} |")
    return met


if __name__ == "__main__":
    sys.exit(main())

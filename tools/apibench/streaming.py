"""The figure of `scripts/bench api` about open event streams.

It measures whether streams get every event, with which delay, and how much they slow down polls.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from typing import Any

from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult, MapResult
from app.core.requests.store import RequestStore
from app.core.requests.types import Source, SourceKind
from tools.apibench.bench import CONNECTIONS, PREPARED, TTL_S, Bench
from tools.apibench.rig import ROOT

STREAMS = 200
STEPS = 20
_EVENTS = STEPS + 2  # started, every step, completed


def streams(bench: Bench, seconds: float) -> dict[str, Any]:
    """STREAMS clients that each follow their own request, while a stub completes the requests one
    after another within `seconds`. First alone, then with as many polls as possible."""
    polls = bench.polls
    quiet = _followed(bench, seconds, polls=None)
    alone = bench.api.load(CONNECTIONS, polls, seconds=seconds)
    busy = _followed(bench, seconds, polls=polls)
    return {
        "streams": quiet,
        "streams_busy": busy,
        "stream_events_ratio": min(one["events"] for one in (quiet, busy)) / (STREAMS * _EVENTS),
        "stream_p99_ms": quiet["p99_ms"],
        "stream_busy_p99_ms": busy["p99_ms"],
        "stream_polls_ratio": busy["polls"]["per_second"] / alone["per_second"],
    }


def _followed(bench: Bench, seconds: float, polls: list[str] | None) -> dict[str, Any]:
    made = _submitted(bench)
    command = [sys.executable, "-m", "tools.apibench.streams", str(bench.api.port)]
    clients = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert clients.stdin is not None
    assert clients.stdout is not None
    gets = [bench.get(f"/v2/requests/{request}/events") for request in made]
    clients.stdin.write(json.dumps(gets) + "\n")
    clients.stdin.flush()
    assert clients.stdout.readline() == "open\n"
    before, began = bench.api.cpu_s, time.monotonic()
    stub = threading.Thread(target=_make, args=(bench, made, seconds))
    stub.start()
    figures = {"polls": bench.api.load(CONNECTIONS, polls, seconds=seconds)} if polls else {}
    event_figures = json.loads(clients.stdout.read())
    stub.join()
    clients.wait()
    share = (bench.api.cpu_s - before) / (time.monotonic() - began)
    return {**event_figures, **figures, "cpu_share": share}


def _submitted(bench: Bench) -> list[str]:
    store = RequestStore(bench.redis, TTL_S)
    made = [secrets.token_hex(16) for _ in range(STREAMS)]
    source = Source(kind=SourceKind.BASE64)
    for request in made:
        store.submit(request, bench.owner, bench.params, source, store.expiry())
    return made


def _make(bench: Bench, made: list[str], seconds: float) -> None:
    """Write the records as workers do, evenly over the time."""
    store, began = RequestStore(bench.redis, TTL_S), time.monotonic()
    for number, request in enumerate(made):
        store.claim(request, Stage.PREPARE, "a")
        store.advance(request, Stage.PREPARE, "a", PREPARED)
        store.claim(request, Stage.GENERATE, "b")
        for step in range(1, STEPS + 1):
            store.progress(request, "b", step, STEPS)
            at = began + seconds * (number + step / STEPS) / len(made)
            time.sleep(max(0.0, at - time.monotonic()))
        store.advance(request, Stage.GENERATE, "b", MapResult(1.0))
        store.claim(request, Stage.FINISH, "c")
        store.complete(request, "c", FinishResult())

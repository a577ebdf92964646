"""The calls: which parts run under one time limit, each in a process of its own.

A process of its own means that no part inherits compiled code or memory of another. A part that
hangs is ended, so that the parts after it have their time. Needs no torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.gpubench.report import file

ROOT = Path(__file__).resolve().parents[2]
_ALLOCATOR = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
"""As in a gpu worker."""

_START = 15.0
"""Seconds below which no process is started: it needs as many to import torch and diffusers."""

GRACE = 5.0
"""Seconds that a part has after its time, to end by itself."""


@dataclass(frozen=True, slots=True)
class Call:
    """seconds: of the whole call. shares: part -> the seconds that the parts before leave to it;
    a part may also use what they did not need."""

    seconds: float
    shares: Mapping[str, float]


CALLS: Mapping[int, Call] = {
    1: Call(470, {"smoke": 75, "compiled": 305, "restart": 90}),
    2: Call(212, {"eager": 104, "small-cards": 108}),
    3: Call(540, {"extras": 290, "shapes": 250}),
}
"""1 and 2 fit into a quarter of an hour with a card; 3 is the rest."""

PARTS = {part: share for call in CALLS.values() for part, share in call.shares.items()}


def run_call(call: Call, options: Sequence[str], results: Path, compiled: Path) -> bool:
    """Run the parts of a call one after the other; whether all succeeded.

    options: of the command line, for each part. compiled: folder of the compiled code, which the
    parts share.
    """
    end = time.time() + call.seconds
    succeeded = True
    for part in call.shares:
        names = list(call.shares)
        later = sum(call.shares[name] for name in names[names.index(part) + 1 :])
        succeeded &= _run_part(part, end - later, options, results, compiled)
    return succeeded


def _run_part(part: str, end: float, options: Sequence[str], results: Path, compiled: Path) -> bool:
    """Run a part, which starts nothing that would end after `end` (seconds of time.time())."""
    started = time.time()
    print(f"{part}: {end - started:.0f} s", flush=True)
    if end - started < _START:
        _note(results, part, out_of_time=f"{end - started:.0f} s left to start and to measure")
        return True
    try:
        code = subprocess.run(
            [sys.executable, "-m", "tools.gpubench", *options, "--process", part, str(end)],
            cwd=ROOT,
            env=_ALLOCATOR | os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(compiled)},
            check=False,
            timeout=max(end - started, 0) + GRACE,
        ).returncode
    except subprocess.TimeoutExpired:
        _note(results, part, killed=True)
        print(f"{part}: ended because its time was over", flush=True)
        return False
    print(f"{part}: {time.time() - started:.1f} s, exit code {code}", flush=True)
    return code == 0


def _note(results: Path, part: str, **figures: object) -> None:
    file.update(results, lambda whole: whole["parts"].setdefault(part, {}).update(figures))

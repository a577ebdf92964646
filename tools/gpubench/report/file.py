"""The results file: one JSON file for all parts, complete on the disk after every change.

Knows the keys of the whole, not those of a part. Needs no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tools.gpubench.report.targets import judged

Results = dict[str, Any]


def read(path: Path) -> Results:
    """The results so far; without a part if there is no file yet."""
    whole: Results = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    return whole


def update(path: Path, change: Callable[[Results], object]) -> None:
    """Change the results in place. A process that is killed meanwhile leaves the old file."""
    whole = read(path)
    change(whole)
    whole["targets"] = judged(whole["parts"])
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".partial")
    with written.open("w") as stream:
        stream.write(json.dumps(whole, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    written.replace(path)


def collect(paths: Iterable[Path], into: Path) -> None:
    """Add the parts of other results to the file `into`; of equal parts, the last one stays."""
    for path in paths:
        other = read(path)

        def change(whole: Results, other: Results = other) -> None:
            whole["tiny"] = other["tiny"]
            whole["parts"] |= other["parts"]

        update(into, change)

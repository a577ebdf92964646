"""What the compiler did in this process, and the size of the cache that it leaves on the disk."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.flux.compilation import compile_stats

_MB = 1e6


def compilation() -> dict[str, Any]:
    """graphs, seconds and cache hits of this process; cache_mb: of the folder that the parts of a
    call share."""
    stats = asdict(compile_stats())
    seconds = round(stats.pop("seconds"), 2)
    return stats | {"compile_seconds": seconds, "cache_mb": cache_mb()}


def cache_mb() -> float:
    """0 where nothing is stored yet."""
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    files = Path(folder).rglob("*") if folder else ()
    return round(sum(path.stat().st_size for path in files if path.is_file()) / _MB, 1)

"""What the compiler did in this process: graphs, seconds, and the size of its cache on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch._dynamo.utils import calculate_time_spent

from models.flux.compilation import compiled_graphs

_MB = 1e6


def compilation() -> dict[str, Any]:
    """graphs: compiled so far; seconds: spent on them; cache_mb: of the folder that the parts of a
    call share."""
    return {
        "graphs": compiled_graphs(),
        "compile_seconds": round(calculate_time_spent().get("total_wall_time", 0.0), 2),
        "cache_mb": cache_mb(),
    }


def cache_mb() -> float:
    """0 where nothing is stored yet."""
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    files = Path(folder).rglob("*") if folder else ()
    return round(sum(path.stat().st_size for path in files if path.is_file()) / _MB, 1)

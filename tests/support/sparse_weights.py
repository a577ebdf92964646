"""Safetensors files of any size whose data is a hole: every number is 0, and no disk is used.

Owns the format, not what the tensors are.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

Tensors = list[tuple[str, tuple[int, ...]]]
"""Names and shapes."""

_PROBE_BYTES = 1 << 26


def supports_holes(folder: Path) -> bool:
    """Whether files in the folder may have holes. Without them 41 GB would be written."""
    probe = folder / "probe"
    with probe.open("wb") as file:
        file.truncate(_PROBE_BYTES)
    used = probe.stat().st_blocks * 512
    probe.unlink()
    return used < _PROBE_BYTES // 64


def write_sparse(file: Path, tensors: Tensors, dtype: str = "BF16", item_bytes: int = 2) -> int:
    """Write the header and a hole. Returns the bytes of the data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in sorted(tensors):
        begin, end = end, end + math.prod(shape) * item_bytes
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + end)
        os.fsync(opened.fileno())  # so that st_blocks is what the file takes
    return end


def write_shards(folder: Path, stem: str, tensors: Tensors, largest: int, item_bytes: int) -> None:
    """Shards of at most `largest` bytes in the order of `tensors`, and their index."""
    shards: list[Tensors] = []
    room = 0
    for name, shape in tensors:
        size = math.prod(shape) * item_bytes
        if size > room:
            shards.append([])
            room = largest
        shards[-1].append((name, shape))
        room -= size
    places: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        file = folder / f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        total += write_sparse(file, shard, item_bytes=item_bytes)
        places |= {name: file.name for name, _ in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def allocated(files: Iterable[Path]) -> int:
    """Bytes that the files take on their disk."""
    return sum(file.stat().st_blocks * 512 for file in files)

"""Reads the headers of a network's files: one safetensors file, or shards with an index.

Every error is a ValueError or OSError of one line that names the file and, where there is one, the
tensor. Reads no tensor, so a network of 24 GB takes milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.safetensors_header import StoredTensor, parse_object, read_header

_INDEX = ".safetensors.index.json"


def weights_file(folder: Path, stem: str) -> Path:
    """`STEM.safetensors`, or the index of its shards. The file need not exist."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}{_INDEX}"
    if single.exists() and index.exists():
        raise ValueError(f"{folder}: remove {single.name} or {index.name}; only one is read")
    return index if index.exists() else single


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """name -> tensor of a file, or of all shards if the file is an index."""
    return _sharded(file) if file.name.endswith(_INDEX) else read_header(file)


def read_json(file: Path) -> dict[str, Any]:
    """The object of a JSON file, for example of a config."""
    return parse_object(file.read_bytes(), file)


def _sharded(index: Path) -> dict[str, StoredTensor]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ValueError(f"{index}: has no weight_map of file names")
    files = [index.with_name(shard) for shard in sorted(set(shards.values()))]
    absent = [file.name for file in files if not file.exists()]
    if absent:
        raise ValueError(f"{index}: names {absent[0]}, which is missing")
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        header = read_header(file)
        misplaced = [name for name in header if shards.get(name) != file.name]
        if misplaced:
            raise ValueError(f"{file}: tensor {misplaced[0]} is not in this file by {index.name}")
        tensors |= header
    for name, shard in shards.items():
        if name not in tensors:
            raise ValueError(f"{index.with_name(shard)}: tensor {name} is missing")
    return tensors

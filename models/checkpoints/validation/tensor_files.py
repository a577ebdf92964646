"""Reads the headers of a network's safetensors files: one file, or shards with an index.

Every error is a ValueError or OSError of one line that names the file and, where there is one, the
tensor. Reads no tensor, so a network of 24 GB takes milliseconds.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8  # of the header, as a little-endian number at the start of the file
_INDEX = ".safetensors.index.json"
_BITS = {"BF16": 16, "F16": 16, "F32": 32, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8}
"""Of an element. A tensor of another dtype is never loaded, so its size is not checked."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a file. dtype: as safetensors spells it, for example BF16."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


def weights_file(folder: Path, stem: str) -> Path:
    """`STEM.safetensors`, or the index of its shards. The file need not exist."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}{_INDEX}"
    if single.exists() and index.exists():
        raise ValueError(f"{folder}: remove {single.name} or {index.name}; only one is read")
    return index if index.exists() else single


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """name -> tensor of a file, or of all shards if the file is an index."""
    return _sharded(file) if file.name.endswith(_INDEX) else read_header(file)


def read_header(file: Path) -> dict[str, StoredTensor]:
    """name -> tensor of one file whose size is what its header says."""
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        if not 0 < length <= size - _LENGTH_BYTES:
            raise ValueError(f"{file}: is cut within its header, or is no safetensors file")
        header = _parse(opened.read(length), file)
    header.pop("__metadata__", None)
    tensors, entries = {}, []
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(entry, name, file)
        tensors[name] = StoredTensor(file, dtype, shape)
        entries.append((begin, end, name))
    _check_places(entries, size - _LENGTH_BYTES - length, file)
    return tensors


def read_json(file: Path) -> dict[str, Any]:
    """The object of a JSON file, for example of a config."""
    return _parse(file.read_bytes(), file)


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


def _parse(text: bytes, file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is damaged, its JSON cannot be read: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{file}: is damaged, its JSON is no object")
    return parsed


def _entry(entry: Any, name: str, file: Path) -> tuple[str, tuple[int, ...], int, int]:
    """(dtype, shape, begin, end) of a tensor in the header; begin and end in bytes of the data."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        bits = _BITS.get(dtype)
        complete = bits is None or (end - begin) * 8 == math.prod(shape) * bits
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: the header's entry of tensor {name} is damaged") from error
    if not complete:
        raise ValueError(
            f"{file}: tensor {name} has {end - begin} bytes, too many or too few for {dtype} of "
            f"shape {list(shape)}"
        )
    return dtype, shape, begin, end


def _check_places(entries: list[tuple[int, int, str]], size: int, file: Path) -> None:
    """Raises ValueError unless the tensors fill the `size` bytes after the header without gaps."""
    position = 0
    for begin, end, name in sorted(entries):
        if begin != position:
            raise ValueError(f"{file}: tensor {name} does not begin where the one before it ends")
        if end > size:
            raise ValueError(
                f"{file}: is cut within tensor {name}, {end - size} of its {end - begin} bytes are "
                "missing"
                if begin < size
                else f"{file}: is cut before tensor {name}"
            )
        position = end
    if position != size:
        raise ValueError(f"{file}: has {size - position} bytes after its last tensor")

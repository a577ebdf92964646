"""Reads the header of a safetensors file: its metadata and the place of every tensor. Torch-free.

Every error is a ValueError or OSError of one line that names the file and, where there is one, the
tensor. Reads no tensor, so a network of 24 GB takes milliseconds.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8  # of the header, as a little-endian number at the start of the file
_HEADER_BYTES_MAX = 100_000_000
"""The limit of the safetensors library."""
_BITS = {"BF16": 16, "F16": 16, "F32": 32, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8}
"""Of an element. A tensor of another dtype is never loaded, so its size is not checked."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a file. dtype: as safetensors spells it, for example BF16."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """metadata: the texts that the writer added. tensors: by name."""

    metadata: dict[str, str]
    tensors: dict[str, StoredTensor]


def read_header(file: Path) -> dict[str, StoredTensor]:
    """name -> tensor of one file whose size is what its header says."""
    with file.open("rb") as opened:
        return read_opened(opened, file).tensors


def read_opened(opened: BufferedReader, file: Path, bytes_max: int = _HEADER_BYTES_MAX) -> Header:
    """The header of a file that is open at its start. file: its name in errors. bytes_max: the
    largest header that is read."""
    size = os.fstat(opened.fileno()).st_size
    length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
    if not 0 < length <= size - _LENGTH_BYTES:
        raise ValueError(f"{file}: is cut within its header, or is no safetensors file")
    if length > bytes_max:
        raise ValueError(f"{file}: has a header of {length} bytes, more than {bytes_max}")
    header = parse_object(opened.read(length), file)
    metadata = header.pop("__metadata__", None)
    tensors, entries = {}, []
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(entry, name, file)
        tensors[name] = StoredTensor(file, dtype, shape)
        entries.append((begin, end, name))
    _check_places(entries, size - _LENGTH_BYTES - length, file)
    return Header(_texts(metadata), tensors)


def parse_object(text: bytes, file: Path) -> dict[str, Any]:
    """The JSON object `text` of a file."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is damaged, its JSON cannot be read: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{file}: is damaged, its JSON is no object")
    return parsed


def _texts(metadata: Any) -> dict[str, str]:
    """Writers put nothing else there; what is no text is left out."""
    if not isinstance(metadata, dict):
        return {}
    return {name: text for name, text in metadata.items() if isinstance(text, str)}


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

"""What a LoRA file holds, from its header alone. Torch-free.

The header and the SHA-256 sum come from one open file, so they belong together even if the file is
replaced meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from models.loras.lora_keys import DOWN, UP, format_of, refusal_of, split_key
from models.loras.lora_metadata import base_model_of, trigger_words_of
from models.safetensors_header import Header, StoredTensor, read_opened

SUFFIX = ".safetensors"
_HEADER_BYTES_MAX = 8 << 20
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A file and what its header says.

    name: without .safetensors. sha256: hex; "" if the file cannot be read. format: "diffusers",
    "ai-toolkit", "kohya", "xlabs", "bfl-control" or "unknown". rank: the largest of its layers, of
    which there are `layers`; both 0 if that is unknown. error: why it cannot be applied, for
    example "is a DoRA, ..."; None as far as its header tells.
    """

    name: str
    path: Path
    sha256: str
    bytes: int
    format: str = "unknown"
    rank: int = 0
    layers: int = 0
    base_model: str = ""
    trigger_words: tuple[str, ...] = ()
    error: str | None = None


def read_lora_file(path: Path) -> LoraFile:
    """The file at `path`, with `error` if it is damaged, refused or cannot be read."""
    try:
        with path.open("rb") as opened:
            return read_opened_lora(opened, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return LoraFile(_name_of(path), path, "", 0, error=f"cannot be read: {reason}")


def read_opened_lora(opened: BufferedReader, path: Path) -> LoraFile:
    """Reads all of a file that is open at its start. Raises OSError."""
    header, error = None, None
    try:
        header = read_opened(opened, Path(path.name), _HEADER_BYTES_MAX)
    except ValueError as damage:
        error = str(damage).removeprefix(f"{path.name}: ")
    opened.seek(0)
    sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    file = LoraFile(_name_of(path), path, sha256, opened.tell(), error=error)
    return file if header is None else _described(file, header)


def _described(file: LoraFile, header: Header) -> LoraFile:
    ranks, error = _ranks(header.tensors)
    return LoraFile(
        name=file.name,
        path=file.path,
        sha256=file.sha256,
        bytes=file.bytes,
        format=_format(header),
        rank=max(ranks, default=0),
        layers=len(ranks),
        base_model=base_model_of(header.metadata),
        trigger_words=trigger_words_of(header.metadata),
        error=refusal_of(header.tensors) or error,
    )


def _format(header: Header) -> str:
    """ai-toolkit has the key names of diffusers; its metadata tell them apart."""
    named = format_of(header.tensors)
    by_ai_toolkit = "ai-toolkit" in header.metadata.get("software", "")
    return "ai-toolkit" if named == "diffusers" and by_ai_toolkit else named


def _ranks(tensors: Mapping[str, StoredTensor]) -> tuple[list[int], str | None]:
    """The rank of each layer with both matrices, and the first fault of a matrix."""
    layers: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        if key := split_key(name):
            layer, part = key
            layers.setdefault(layer, {})[part] = tensor
    ranks, faults = [], []
    for layer, parts in layers.items():
        if not parts.keys() >= {DOWN, UP}:
            continue
        down, up = parts[DOWN], parts[UP]
        if not (_is_matrix(down) and _is_matrix(up)):
            faults.append(f"the layer {layer[:200]} has other tensors than two matrices of floats")
        elif down.shape[0] != up.shape[1]:
            faults.append(
                f"the layer {layer[:200]} has matrices of the ranks {down.shape[0]} and "
                f"{up.shape[1]}"
            )
        else:
            ranks.append(down.shape[0])
    return ranks, next(iter(faults), None)


def _is_matrix(tensor: StoredTensor) -> bool:
    sizes = tensor.shape
    return (
        tensor.dtype in _FLOATS
        and len(sizes) == 2
        and all(isinstance(size, int) and size > 0 for size in sizes)
    )


def _name_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)

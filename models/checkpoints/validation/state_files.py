"""Checks files of torch.save, those of the annotators, before controlnet_aux loads them.

Every fault is a ValueError or OSError of one line that names the file. Runs no code of a file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.load_errors import reason_of


def check_state(file: Path, expected: Mapping[str, Tensor], *, exact: bool) -> None:
    """Raises unless the file has every expected tensor with its shape.

    expected: name -> tensor, on the meta device. exact: other tensors are an error too.
    """
    state = _read(file)
    for name, tensor in expected.items():
        stored = state.get(name)
        if not isinstance(stored, Tensor):
            raise ValueError(f"{file}: tensor {name} is missing")
        if stored.shape != tensor.shape:
            raise ValueError(
                f"{file}: tensor {name} has the shape {list(stored.shape)} where "
                f"{list(tensor.shape)} is expected"
            )
        if not stored.is_floating_point() and tensor.is_floating_point():
            raise ValueError(f"{file}: tensor {name} is {stored.dtype}, not floating point")
    unknown = sorted(map(str, state.keys() - expected.keys()))
    if exact and unknown:
        raise ValueError(f"{file}: tensor {unknown[0]} is unknown to its network")


def _read(file: Path) -> dict[Any, Any]:
    """The dictionary of the file; its tensors are mapped, not read, where the format allows it."""
    with file.open("rb") as opened:  # an absent file, as an OSError that names it
        mapped = zipfile.is_zipfile(opened)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # EOFError, RuntimeError, UnpicklingError and more
        raise ValueError(f"{file}: is damaged: {reason_of(error)}") from error
    if isinstance(state, dict) and "optimizer" in state:
        state = state.get("model")  # a training checkpoint; controlnet_aux reads it the same way
    if not isinstance(state, dict):
        raise ValueError(f"{file}: has no dictionary of tensors")
    return state

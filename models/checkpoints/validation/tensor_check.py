"""Compares the files of a network with the network itself, before anything is loaded.

diffusers and transformers only warn about some faults (a missing or renamed tensor, the config of
another architecture) and go on with random weights. Here each one is an error of one line. Builds
the network on the meta device and reads headers: no weights.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.checkpoints.validation.tensor_files import read_json, stored_tensors, weights_file
from models.load_errors import reason_of
from models.safetensors_header import StoredTensor

log = logging.getLogger(__name__)

_CAST = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
"""The dtypes that are cast to the working dtype. Others, 8 bits above all, need scales or have no
weights in them."""

_OLD_PREFIX = "text_model."
"""CLIP text encoders were published with it; transformers 5 removes it from the names it reads."""


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """A folder with a config and weights. network_class: of diffusers or transformers."""

    network_class: Any
    folder: Path

    @property
    def _stem(self) -> str:
        return "model" if self._of_transformers else "diffusion_pytorch_model"

    @property
    def _of_transformers(self) -> bool:
        return hasattr(self.network_class, "config_class")

    def check(self, dtype: torch.dtype) -> None:
        """Raises ValueError or OSError of one line unless all tensors are there and fit.

        dtype: the working dtype; a cast to it that loses precision is logged.
        """
        network = self._on_meta()
        file = weights_file(self.folder, self._stem)
        stored = {
            name.removeprefix(_OLD_PREFIX): tensor for name, tensor in stored_tensors(file).items()
        }
        _check_names(network, stored, file)
        expected = network.state_dict()
        loaded = {name: stored[name] for name in sorted(stored.keys() & expected.keys())}
        for name, tensor in loaded.items():
            _check_tensor(name, tensor, expected[name])
        dtypes = {tensor.dtype for tensor in loaded.values()}
        for lossy in sorted(name for name in dtypes if _loses(name, dtype)):
            log.info("%s: %s weights are cast to %s", self.folder, lossy, dtype)

    def _on_meta(self) -> nn.Module:
        file = self.folder / "config.json"
        config = read_json(file)
        kind = self.network_class
        key, expected = (
            ("model_type", kind.config_class.model_type)
            if self._of_transformers
            else ("_class_name", kind.__name__)
        )
        if config.get(key) != expected:
            raise ValueError(f"{file}: {key} is {config.get(key)!r} where {expected!r} is expected")
        try:
            with torch.device("meta"):
                network = (
                    kind(kind.config_class.from_pretrained(self.folder))
                    if self._of_transformers
                    else kind.from_config(config)
                )
        except Exception as error:  # a constructor with unfit arguments raises any class
            raise ValueError(f"{file}: describes no {kind.__name__}: {reason_of(error)}") from error
        assert isinstance(network, nn.Module)
        return network


def _check_names(network: nn.Module, stored: Mapping[str, StoredTensor], file: Path) -> None:
    """Of tied weights one name is enough. Buffers that a network makes itself (the position_ids of
    CLIP) may be stored or not."""
    expected = network.state_dict(keep_vars=True)
    tied: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        tied.setdefault(id(tensor), []).append(name)
    missing = [names[0] for names in tied.values() if not any(name in stored for name in names)]
    known = expected.keys() | dict(network.named_buffers()).keys()
    unknown = sorted(stored.keys() - known)
    if missing:
        instead = f"; tensor {unknown[0]} is unknown{_others(unknown)}" if unknown else ""
        raise ValueError(f"{file}: tensor {missing[0]} is missing{_others(missing)}{instead}")
    if unknown:
        raise ValueError(
            f"{stored[unknown[0]].file}: tensor {unknown[0]} is unknown{_others(unknown)} to a "
            f"{type(network).__name__} of its config.json"
        )


def _check_tensor(name: str, stored: StoredTensor, expected: torch.Tensor) -> None:
    if stored.shape != tuple(expected.shape):
        raise ValueError(
            f"{stored.file}: tensor {name} has the shape {list(stored.shape)} where "
            f"{list(expected.shape)} is expected"
        )
    if stored.dtype not in _CAST:
        raise ValueError(
            f"{stored.file}: tensor {name} is {stored.dtype}; only BF16, F16 and F32 are read"
        )


def _loses(stored: str, dtype: torch.dtype) -> bool:
    return torch.promote_types(_CAST[stored], dtype) != dtype


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""

"""Reads the content of a LoRA file into weights, or says why it cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from models.errors import LoraError
from models.loras.conversion import CLIP, changes_of
from models.loras.lora_keys import refusal_of
from models.loras.low_rank import LoraWeights

_CONFIG = "lora_adapter_metadata"
"""diffusers' entry of a file's metadata: peft's LoraConfig as JSON, its keys with the network's
name before them."""


def read_weights(name: str, content: bytes) -> LoraWeights:
    """name: for errors. content: of a safetensors file in one of the supported formats.

    Raises LoraError when the file is broken or of a refused kind, or when a tensor of it would not
    be used.
    """
    try:
        tensors = load_safetensors(content)
        config = _adapter_config(content)
    except (SafetensorError, ValueError) as error:
        raise LoraError(name, f"it is not a valid safetensors file: {error}") from error
    refusal = refusal_of(tensors)
    if refusal is not None:
        raise LoraError(name, f"it {refusal}")
    for key, tensor in tensors.items():
        # The sum is not finite if a number is not; torch.isfinite takes seconds for a usual file.
        if not torch.isfinite(tensor.sum(dtype=torch.float32)):
            raise LoraError(name, f"{key} contains NaN or infinity")
    changes = changes_of(name, tensors, config)
    return LoraWeights(
        {key: change for key, change in changes.items() if not key.startswith(CLIP)},
        {key.removeprefix(CLIP): changes[key] for key in changes if key.startswith(CLIP)},
    )


def _adapter_config(content: bytes) -> Mapping[str, Any]:
    """Of a file that safetensors has accepted."""
    end = 8 + int.from_bytes(content[:8], "little")
    text = json.loads(content[8:end]).get("__metadata__", {}).get(_CONFIG)
    config = json.loads(text) if text else {}
    if not isinstance(config, dict):
        raise ValueError(f"{_CONFIG} is not an object")
    return config

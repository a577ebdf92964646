"""The weights of a LoRA file by the names of diffusers' layers, whichever trainer wrote it.

diffusers' loader converts the names (FluxLoraLoaderMixin). It drops what it does not know, so each
layer of the file is converted by itself, and one without a result is an error. Knows no network.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.loaders import FluxLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from models.errors import LoraError
from models.loras.lora_keys import refusal_of

Tensors = Mapping[str, Tensor]

_DOWN, _UP, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
_CLIP = "text_encoder."

_LAYER = re.compile(
    r"(.+?)\.(?:alpha|(?:lora_down|lora_up|lora_A|lora_B|lora\.down|lora\.up|down|up)\.weight)"
)
"""A tensor's name; the group is the layer that it belongs to."""

_BLACK_FOREST_LABS = re.compile(
    r"(double_blocks|single_blocks|(img|txt|time|vector|guidance)_in|final_layer)\."
)
"""Names of layers in black-forest-labs/flux, where diffusers has others."""

_ADAPTER_METADATA = "lora_adapter_metadata"
"""diffusers' entry of a file's metadata: peft's LoraConfig as JSON, its keys with the network's
name before them."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one layer's weight: scaling * up @ down. down: [rank, in]. up: [out, rank].
    scaling: alpha / rank, where the tensors do not have it already."""

    down: Tensor
    up: Tensor
    scaling: float = 1.0

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """The changes of a LoRA by the names of the layers in diffusers' and transformers' classes:
    of the transformer and of CLIP. The tensors are on the CPU, in the file's dtype."""

    transformer: Mapping[str, LowRank]
    text_encoder: Mapping[str, LowRank]

    @property
    def rank(self) -> int:
        """The largest of all layers."""
        return max(change.rank for change in self._changes())

    @property
    def bytes(self) -> int:
        sizes = {
            tensor.data_ptr(): tensor.nbytes
            for change in self._changes()
            for tensor in (change.down, change.up)
        }
        return sum(sizes.values())

    def _changes(self) -> tuple[LowRank, ...]:
        return (*self.transformer.values(), *self.text_encoder.values())


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
    changes: dict[str, LowRank] = {}
    for layer, own in _layers(tensors).items():
        for key, tensor in own.items():
            if not torch.isfinite(tensor).all():
                raise LoraError(name, f"{key} contains NaN or infinity")
        converted = _converted(name, layer, own, config)
        if not converted:
            raise LoraError(name, f"its layer {layer} is none of a FLUX model")
        changes |= converted
    if not changes:
        raise LoraError(name, "it changes no layer")
    return LoraWeights(
        {key: change for key, change in changes.items() if not key.startswith(_CLIP)},
        {
            key.removeprefix(_CLIP): change
            for key, change in changes.items()
            if key.startswith(_CLIP)
        },
    )


def _layers(tensors: Tensors) -> dict[str, dict[str, Tensor]]:
    """The tensors of each layer, by names that diffusers' loader knows."""
    layers: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        known = _known_name(key)
        match = _LAYER.fullmatch(known)
        layers[match[1] if match else known][known] = tensor
    return layers


def _known_name(key: str) -> str:
    """The spelling of a tensor's name that diffusers' loader converts."""
    key = key.replace(".default.weight", ".weight")
    path = key.removeprefix("base_model.model.").removeprefix("diffusion_model.")
    if path.startswith(("transformer_blocks.", "single_transformer_blocks.")):
        return f"transformer.{path}"
    if _BLACK_FOREST_LABS.match(path) and "processor" not in path:
        path = path.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up.")
        return f"diffusion_model.{path}"
    return path


def _converted(
    name: str, layer: str, tensors: dict[str, Tensor], config: Mapping[str, Any]
) -> dict[str, LowRank]:
    """The changes that a layer of the file makes; those of CLIP with its prefix."""
    alpha = None
    # diffusers' loader has no use for these two.
    if "final_layer" in layer or layer.startswith("transformer."):
        alpha = tensors.pop(layer + _ALPHA, None)
    try:
        state, alphas = FluxLoraLoaderMixin.lora_state_dict(tensors, return_alphas=True)
        state = _in_peft_names(state)
    except (ValueError, KeyError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise LoraError(name, f"its layer {layer} cannot be converted: {error}") from error
    alpha = next(iter((alphas or {}).values()), alpha)
    changes = {}
    for key in [key.removesuffix(_DOWN) for key in state if key.endswith(_DOWN)]:
        down, up = state.pop(key + _DOWN), state.pop(key + _UP, None)
        if up is None or down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            raise LoraError(name, f"its layer {layer} has no pair of matrices of one rank")
        rank = down.shape[0]
        scaling = float(alpha) / rank if alpha is not None else _scaling(config, key, rank)
        changes[key.removeprefix("transformer.")] = LowRank(down, up, scaling)
    if state:
        raise LoraError(name, f"{next(iter(state))} would not be used")
    return changes


def _in_peft_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    of_clip = {key.removeprefix(_CLIP): state[key] for key in state if key.startswith(_CLIP)}
    if not of_clip:
        of_transformer: dict[str, Tensor] = convert_unet_state_dict_to_peft(state)
        return of_transformer
    renamed = convert_state_dict_to_peft(of_clip, StateDictType.DIFFUSERS_OLD)
    # transformers 5 has no module of this name between the model and its layers.
    return {_CLIP + key.removeprefix("text_model."): renamed[key] for key in renamed}


def _adapter_config(content: bytes) -> Mapping[str, Any]:
    """Of a file that safetensors has accepted."""
    end = 8 + int.from_bytes(content[:8], "little")
    text = json.loads(content[8:end]).get("__metadata__", {}).get(_ADAPTER_METADATA)
    config = json.loads(text) if text else {}
    if not isinstance(config, dict):
        raise ValueError(f"{_ADAPTER_METADATA} is not an object")
    return config


def _scaling(config: Mapping[str, Any], key: str, rank: int) -> float:
    """alpha / rank by peft's LoraConfig; 1 for a file without one.

    key: the layer's name with the network's name before it.
    """
    network, _, layer = key.partition(".")
    patterns = config.get(f"{network}.alpha_pattern") or {}
    own = (
        alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?{pattern}", layer)
    )
    alpha = next(own, config.get(f"{network}.lora_alpha", rank))
    return float(alpha) / (math.sqrt(rank) if config.get(f"{network}.use_rslora") else rank)

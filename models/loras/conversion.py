"""The tensors of a LoRA file -> the changes of diffusers' layers, whichever trainer wrote it.

diffusers' loader converts the names (FluxLoraLoaderMixin). It drops what it does not know, so the
layers of each kind are converted by themselves, and one without a result is an error.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from diffusers.loaders import FluxLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor

from models.errors import LoraError
from models.loras.low_rank import LowRank

Tensors = dict[str, Tensor]

CLIP = "text_encoder."
_TRANSFORMER = "transformer."

_DOWN, _UP, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"

_LAYER = re.compile(
    r"(.+?)\.(?:alpha|(?:lora_down|lora_up|lora_A|lora_B|lora\.down|lora\.up|down|up)\.weight)"
)
"""A tensor's name; the group is the layer that it belongs to."""

_KOHYA = ("lora_", "diffusion_model.", "text_encoders.")

_BLACK_FOREST_LABS = re.compile(
    r"(double_blocks|single_blocks|(img|txt|time|vector|guidance)_in|final_layer)\."
)
"""Names of layers in black-forest-labs/flux, where diffusers has others."""


def changes_of(
    name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, LowRank]:
    """The changes by the names of the layers in diffusers' classes; those of CLIP with its prefix.

    name: for errors. config: peft's LoraConfig, its keys with the network's name before them.
    Raises LoraError when a layer cannot be converted or would be dropped.
    """
    changes: dict[str, LowRank] = {}
    for layers in _layers_by_kind(tensors).values():
        alphas = {layer: _alpha(name, layer, own) for layer, own in layers.items()}
        joined = {key: tensor for own in layers.values() for key, tensor in own.items()}
        a_layer = next(iter(layers))
        state = _converted(name, a_layer, joined)
        made = _pairs(name, a_layer, state)
        # A layer makes as many changes as any other of its kind: three for a joined projection.
        if not made or len(made) % len(layers):
            raise LoraError(name, f"its layer {a_layer} is none of a FLUX model")
        for key, (down, up) in made.items():
            alpha = alphas.get(key, alphas[a_layer] if len(layers) == 1 else None)
            scaling = _scaling(name, config, key, down.shape[0], alpha)
            changes[key.removeprefix(_TRANSFORMER)] = LowRank(down, up, scaling)
    return changes


def _layers_by_kind(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensors]]:
    """The tensors of each layer by names that diffusers' loader knows. Layers of one kind differ by
    the number of their block."""
    kinds: defaultdict[str, dict[str, Tensors]] = defaultdict(dict)
    for key, tensor in tensors.items():
        known = _known_name(key)
        match = _LAYER.fullmatch(known)
        layer = match[1] if match else known
        kind = re.sub(r"\d+", "#", layer, count=1)
        kinds[kind].setdefault(layer, {})[known] = tensor
    return kinds


def _known_name(key: str) -> str:
    """The spelling of a tensor's name that diffusers' loader converts."""
    key = key.replace(".default.weight", ".weight")
    path = key.removeprefix("base_model.model.").removeprefix("diffusion_model.")
    if path.startswith(("transformer_blocks.", "single_transformer_blocks.")):
        return _TRANSFORMER + path
    if _BLACK_FOREST_LABS.match(path) and "processor" not in path:
        path = path.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up.")
        return f"diffusion_model.{path}"
    return path


def _alpha(name: str, layer: str, tensors: Tensors) -> float | None:
    """Takes alpha from the tensors of a layer, unless diffusers' loader will apply it."""
    if layer.startswith(_KOHYA) and "final_layer" not in layer:
        return None
    alpha = tensors.pop(layer + _ALPHA, None)
    if alpha is not None and alpha.numel() != 1:
        raise LoraError(name, f"{layer}{_ALPHA} is not a number")
    return None if alpha is None else float(alpha)


def _converted(name: str, layer: str, tensors: Tensors) -> Tensors:
    """The tensors by the names of peft."""
    try:
        state = FluxLoraLoaderMixin.lora_state_dict(tensors)
        of_clip = {key.removeprefix(CLIP): state[key] for key in state if key.startswith(CLIP)}
        if not of_clip:
            of_transformer: Tensors = convert_unet_state_dict_to_peft(state)
            return of_transformer
        renamed = convert_state_dict_to_peft(of_clip, StateDictType.DIFFUSERS_OLD)
    # These are what its converters raise for names and shapes that they do not know. They have no
    # class of their own, and a file must not end the request with an internal error.
    except (ValueError, KeyError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise LoraError(name, f"its layer {layer} cannot be converted: {error}") from error
    # transformers 5 has no module of this name between the model and its layers.
    return {CLIP + key.removeprefix("text_model."): renamed[key] for key in renamed}


def _pairs(name: str, layer: str, state: Tensors) -> dict[str, tuple[Tensor, Tensor]]:
    """layer -> down, up"""
    pairs = {}
    for key in [key.removesuffix(_DOWN) for key in state if key.endswith(_DOWN)]:
        down, up = state.pop(key + _DOWN), state.pop(key + _UP, None)
        if up is None or down.ndim != 2 or up.ndim != 2 or not down.shape[0] == up.shape[1] > 0:
            raise LoraError(name, f"its layer {key} has no pair of matrices of one rank")
        pairs[key] = down, up
    if state:
        raise LoraError(name, f"{next(iter(state))} of its layer {layer} would not be used")
    return pairs


def _scaling(
    name: str, config: Mapping[str, Any], key: str, rank: int, alpha: float | None
) -> float:
    """alpha / rank: of the file, or by peft's LoraConfig; 1 for a file without both."""
    if alpha is not None:
        return alpha / rank
    network, _, layer = key.partition(".")
    try:
        patterns = config.get(f"{network}.alpha_pattern") or {}
        own = (
            value
            for pattern, value in patterns.items()
            if re.fullmatch(rf"(.*\.)?{pattern}", layer)
        )
        chosen = float(next(own, config.get(f"{network}.lora_alpha", rank)))
    except (AttributeError, TypeError, ValueError, re.error) as error:
        raise LoraError(name, f"its metadata have no usable alpha: {error}") from error
    return chosen / (math.sqrt(rank) if config.get(f"{network}.use_rslora") else rank)

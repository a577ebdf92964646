"""One linear layer for the query, key and value of an attention, in place of three.

The three have the same input, so 8-bit layers round it once instead of three times, and one large
product uses a GPU better than three. Every output channel keeps its own weights. Only for 8-bit
networks: another shape may change the order of sums, and `exact` changes no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PROJECTIONS = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}
"""The names in diffusers: of the fused layer and its parts, for the image and for the text."""


def fuse_projections(block: nn.Module) -> None:
    """Replace the projections of every attention in a FLUX block. Releases the replaced layers.

    diffusers' method of this name keeps them, initializes the new ones at random first, and takes
    the numbers for that from the global generator.
    """
    attention: Any
    for attention in block.modules():
        if getattr(attention, "fused_projections", None) is not False:
            continue
        for fused, names in PROJECTIONS.items():
            if hasattr(attention, names[0]):
                setattr(attention, fused, _fused([getattr(attention, name) for name in names]))
                for name in names:
                    delattr(attention, name)
        attention.fused_projections = True


def _fused(layers: Sequence[nn.Linear]) -> nn.Linear:
    with torch.device("meta"):
        linear = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    for name in ("weight", "bias"):
        parts = [getattr(layer, name) for layer in layers]
        joined = None if parts[0] is None else nn.Parameter(torch.cat(parts), requires_grad=False)
        setattr(linear, name, joined)
    return linear

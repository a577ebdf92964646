"""The shapes of FLUX.1-dev and its ControlNets, and tiny ones of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides how large the networks are. depth, union, plain: double and single
    blocks of the transformer, of Union-Pro and of Union-Pro-2.0. std: of the weights, such that
    signals keep their size from layer to layer."""

    flux: Mapping[str, Any]
    depth: tuple[int, int]
    union: tuple[int, int]
    plain: tuple[int, int]
    clip: Mapping[str, Any]
    t5: Mapping[str, Any]
    vae: Mapping[str, Any]
    std: float


FULL = Shape(
    flux={
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "axes_dims_rope": (16, 56, 56),
    },
    depth=(19, 38),
    union=(5, 10),
    plain=(6, 0),
    clip={
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    t5={"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64}
    | {"num_layers": 24, "feed_forward_proj": "gated-gelu"},
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    std=0.02,
)

TINY = Shape(
    flux={
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    },
    depth=(2, 2),
    union=(1, 2),
    plain=(2, 0),
    clip={
        "vocab_size": 1024,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    t5={"vocab_size": 512, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2}
    | {"num_layers": 2, "feed_forward_proj": "gated-gelu"},
    vae={"block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
    std=0.2,
)

"""Rotated streams, then joined: the bits of diffusers' attention."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_flux import (
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch import nn

from models.flux.joint_attention import join_rotated_streams
from models.flux.projections import fuse_projections

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("kind", [FluxTransformerBlock, FluxSingleTransformerBlock])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("text_tokens", [5, 8])
def test_a_block_computes_the_same_bits(
    kind: type[nn.Module], dtype: torch.dtype, fused: bool, text_tokens: int
) -> None:
    torch.manual_seed(0)
    block: Any = kind(dim=48, num_attention_heads=3, attention_head_dim=16)
    block = block.to(dtype).eval().requires_grad_(False)
    for name, parameter in block.named_parameters():
        if ".norm_" in name:  # ones at first
            parameter.normal_()
    if fused:
        fuse_projections(block)
    angles = torch.randn(text_tokens + 9, 16)
    inputs = {
        "hidden_states": torch.randn(1, 9, 48, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, text_tokens, 48, dtype=dtype),
        "temb": torch.randn(1, 48, dtype=dtype),
        "image_rotary_emb": (angles.cos(), angles.sin()),
    }
    shipped = deepcopy(block)
    join_rotated_streams(block)
    for ours, theirs in zip(block(**inputs), shipped(**inputs), strict=True):
        assert torch.equal(ours, theirs)
    assert type(block.attn.processor) is not type(shipped.attn.processor)

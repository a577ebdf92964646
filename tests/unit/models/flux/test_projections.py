"""Fused query, key and value projections: the same 8-bit numbers, rounded once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_flux import (
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch import Tensor, nn

from models.flux.float8 import Float8Linear
from models.flux.projections import fuse_projections

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
BLOCKS = [FluxTransformerBlock, FluxSingleTransformerBlock]
PARTS = {
    "to_qkv": ["to_q", "to_k", "to_v"],
    "to_added_qkv": ["add_q_proj", "add_k_proj", "add_v_proj"],
}


def block_of(kind: type[nn.Module]) -> Any:
    torch.manual_seed(0)
    return kind(dim=48, num_attention_heads=3, attention_head_dim=16).eval().requires_grad_(False)


def outputs(block: nn.Module) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    text, image, embedding = (
        torch.randn(1, *shape, generator=generator) for shape in ((5, 48), (9, 48), (48,))
    )
    angles = torch.randn(14, 16, generator=generator)
    with torch.no_grad():
        made: tuple[Tensor, Tensor] = block(
            hidden_states=image,
            encoder_hidden_states=text,
            temb=embedding,
            image_rotary_emb=(angles.cos(), angles.sin()),
        )
    return made


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_fused_block_computes_what_its_parts_did(kind: type[nn.Module]) -> None:
    block = block_of(kind)
    before = outputs(block)
    fuse_projections(block)
    for fused, separate in zip(outputs(block), before, strict=True):
        torch.testing.assert_close(fused, separate)


@pytest.mark.parametrize("kind", BLOCKS)
def test_weights_in_8_bits_are_those_of_the_parts(kind: type[nn.Module]) -> None:
    block = block_of(kind)
    separate = deepcopy(block.attn)
    fuse_projections(block)
    for fused, names in PARTS.items():
        if not hasattr(separate, names[0]):
            continue
        whole = Float8Linear(getattr(block.attn, fused), CPU, native=False)
        parts = [Float8Linear(getattr(separate, name), CPU, native=False) for name in names]
        assert torch.equal(
            whole.weight.view(torch.uint8),
            torch.cat([part.weight.view(torch.uint8) for part in parts]),
        )
        assert torch.equal(whole.scale, torch.cat([part.scale for part in parts]))
        assert torch.equal(whole.bias, torch.cat([part.bias for part in parts]))


@pytest.mark.parametrize("kind", BLOCKS)
def test_fused_projections_replace_their_parts(kind: type[nn.Module]) -> None:
    block = block_of(kind)
    numbers = sum(parameter.numel() for parameter in block.parameters())
    state = torch.get_rng_state()
    fuse_projections(block)
    fuse_projections(block)  # fused already
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(parameter.numel() for parameter in block.parameters()) == numbers
    assert not [name for names in PARTS.values() for name in names if hasattr(block.attn, name)]


def test_projections_without_a_bias_are_fused() -> None:
    attention = nn.Module()
    attention.fused_projections = False
    for name in PARTS["to_qkv"]:
        setattr(attention, name, nn.Linear(32, 16, bias=False))
    fuse_projections(attention)
    assert attention.to_qkv.weight.shape == (48, 32)
    assert attention.to_qkv.bias is None

"""Adapted layers, and why their weights are not merged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.flux.float8 import Float8Linear
from models.flux.modulation import Int8Modulation
from models.loras.layers import AdaptableLayers, Shape, SidePath

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
WIDTH, RANK = 1024, 16


def network() -> nn.Module:
    """One layer of each kind, in the order of its names."""
    torch.manual_seed(0)
    made = nn.Module()
    made.blocks = nn.ModuleList([nn.Module()])
    block = made.blocks[0]
    block.to_qkv = Float8Linear(nn.Linear(32, 48), CPU, native=False)
    block.modulation = Int8Modulation(nn.Linear(32, 64), CPU)
    made.end = nn.Linear(8, 4)
    return made


def test_every_kind_of_layer_is_found_with_its_parts_and_its_block() -> None:
    layers = AdaptableLayers(network(), ("blocks",))
    assert layers.shapes == {
        "blocks.0.to_q": Shape(32, 16),
        "blocks.0.to_k": Shape(32, 16),
        "blocks.0.to_v": Shape(32, 16),
        "blocks.0.modulation": Shape(32, 64),
        "end": Shape(8, 4),
    }
    assert [layer.block for layer in layers.all] == ["blocks.0", "blocks.0", None]


def test_a_network_can_be_made_adaptable_twice() -> None:
    """An 8-bit network shares layers with the exact one."""
    made = network()
    first = AdaptableLayers(made)
    classes = [type(layer.module) for layer in first.all]
    assert [type(layer.module) for layer in AdaptableLayers(made).all] == classes


@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 8), (1, 8)])
def test_a_side_path_adds_its_product(shape: tuple[int, ...]) -> None:
    layers = AdaptableLayers(network())
    layer, x = layers.all[-1].module, torch.randn(shape)
    plain = layer(x)
    path = SidePath(torch.randn(2, 8), torch.randn(4, 2))
    layers.set({layer: path})
    torch.testing.assert_close(layer(x), plain + x @ path.down.T @ path.up.T)
    layers.clear()
    assert torch.equal(layer(x), plain)


def relative(error: Tensor, of: Tensor) -> float:
    return float(error.norm() / of.norm())


def test_a_side_path_keeps_a_change_that_merged_weights_round_away() -> None:
    """The figures of docs/performance.md: a change of 1 % of the weights' size."""
    torch.manual_seed(0)
    weight = (torch.randn(WIDTH, WIDTH) * 0.02).bfloat16()
    down, up = torch.randn(RANK, WIDTH).bfloat16(), torch.randn(WIDTH, RANK)
    up = (up * 0.02 * 0.01 / (up @ down.float()).std()).bfloat16()
    change = up.float() @ down.float()

    merged = (weight.float() + change).bfloat16()
    assert 0.1 < relative(merged.float() - weight.float() - change, change) < 0.25
    assert not torch.equal((merged.float() - change).bfloat16(), weight)

    in_8_bits = Float8Linear(_linear(weight), CPU, native=False)
    rounded = in_8_bits.weight.float() * in_8_bits.scale
    merged_8 = Float8Linear(_linear(rounded + change), CPU, native=False)
    kept = merged_8.weight.float() * merged_8.scale - rounded
    assert relative(kept - change, change) > 0.8

    x = torch.randn(64, WIDTH).bfloat16()
    added = SidePath(down, up).added(torch.zeros(64, WIDTH).bfloat16(), x)
    exact = x.float() @ change.T
    assert relative(added.float() - exact, exact) < 0.005


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(WIDTH, WIDTH, bias=False)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear

"""8-bit linears: their error, the tensors they share, and the layers they leave unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.checkpoints import LoadedCheckpoint
from models.flux.float8 import Float8Linear, in_float8, native
from models.flux.modulation import Int8Modulation

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_in_8_bits_deviates_by_a_few_percent(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 128, bias=bias, dtype=dtype)
    x = torch.randn(2, 33, 256, dtype=dtype)
    made, exact = Float8Linear(linear, CPU, native=False)(x), linear(x)
    assert made.dtype == dtype
    assert made.shape == exact.shape
    error = float((made - exact).float().norm() / exact.float().norm())
    assert 1e-4 < error < 0.05


def test_every_row_has_its_own_scale() -> None:
    """One loud channel or token must not drown the others."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 32)
    with torch.no_grad():
        linear.weight[0] *= 1e4
    x = torch.randn(8, 64)
    x[0] *= 1e5
    made, exact = Float8Linear(linear, CPU, native=False)(x), linear(x)
    lengths = x.norm(dim=1)[:, None] * linear.weight.norm(dim=1)[None, :]
    assert float(((made - exact).abs() / lengths).max()) < 0.02
    assert bool(torch.isfinite(made).all())


@pytest.mark.parametrize("level", [1e-8, 1e-3, 1e8])
def test_accuracy_does_not_depend_on_the_level(level: float) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=False)
    x = torch.randn(4, 64)
    made = Float8Linear(linear, CPU, native=False)(x * level) / level
    quiet = nn.Linear(64, 32, bias=False)
    with torch.no_grad():
        quiet.weight.copy_(linear.weight * level)
    also = Float8Linear(quiet, CPU, native=False)(x) / level
    exact = linear(x)
    assert float((made - exact).norm() / exact.norm()) < 0.05
    assert float((also - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 24), (24, 16), (8, 16)])
def test_layers_that_the_matrix_unit_cannot_multiply_keep_their_dtype(
    inputs: int, outputs: int
) -> None:
    """Both sides must be multiples of 16."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large, self.small = nn.Linear(32, 16), nn.Linear(inputs, outputs)

    network = nn.Module()
    network.transformer_blocks = nn.ModuleList([Block()])
    network.single_transformer_blocks = nn.ModuleList()
    (block,) = in_float8(network, CPU, native=False).transformer_blocks
    assert isinstance(block.large, Float8Linear)
    assert isinstance(block.small, nn.Linear)


def test_zeros_stay_zeros() -> None:
    linear = nn.Linear(32, 16, bias=False)
    assert bool((Float8Linear(linear, CPU, native=False)(torch.zeros(3, 32)) == 0).all())


def test_the_matrix_unit_and_the_stand_in_agree() -> None:
    """torch has the same product on the CPU, so its arguments are tried here too."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, dtype=torch.bfloat16)
    x = torch.randn(5, 16, 64, dtype=torch.bfloat16)
    unit, stand_in = (Float8Linear(linear, CPU, native)(x).float() for native in (True, False))
    assert float((unit - stand_in).norm() / stand_in.norm()) < 0.01


def test_a_network_shares_all_but_its_large_linears(stand_in: LoadedCheckpoint) -> None:
    network = stand_in.pipe.transformer
    copied = in_float8(network, CPU, native=False)
    rounded = [name for name, part in copied.named_modules() if isinstance(part, Float8Linear)]
    assert rounded
    assert not [name for name in rounded if ".norm" in name or "blocks" not in name]
    modulations = [
        name for name, part in copied.named_modules() if isinstance(part, Int8Modulation)
    ]
    assert modulations
    assert not [name for name in modulations if ".norm" not in name or "blocks" not in name]
    assert not [
        name
        for name, part in copied.named_modules()
        if isinstance(part, nn.Linear) and "blocks" in name
    ]
    own = dict(network.named_parameters())
    shared = {name: p for name, p in copied.named_parameters() if "qkv" not in name}
    assert all(parameter is own[name] for name, parameter in shared.items())
    assert {part.weight.dtype for part in copied.modules() if isinstance(part, Float8Linear)} == {
        torch.float8_e4m3fn
    }
    # The network itself is as it was.
    assert not [part for part in network.modules() if isinstance(part, Float8Linear)]


def test_a_cpu_has_no_8_bit_matrix_units() -> None:
    assert not native(CPU)

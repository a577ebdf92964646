"""8-bit modulations: their error, outliers, odd widths, and the bytes that they store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.flux.modulation import Int8Modulation

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def deviation(linear: nn.Linear, x: torch.Tensor) -> float:
    exact = linear.float()(x.float())
    return float((Int8Modulation(linear, CPU)(x).float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 0.008), (torch.bfloat16, 0.012)])
def test_a_modulation_deviates_by_less_than_a_percent(
    dtype: torch.dtype, largest: float, bias: bool
) -> None:
    linear, x = nn.Linear(512, 768, bias=bias), torch.randn(1, 512, dtype=dtype)
    with torch.no_grad():
        linear.weight.normal_()
    modulation = Int8Modulation(linear.to(dtype), CPU)(x)
    assert (modulation.dtype, modulation.shape) == (dtype, (1, 768))
    assert 1e-4 < deviation(linear, x) < largest


def test_an_outlier_costs_only_its_group() -> None:
    linear, x = nn.Linear(1024, 64), torch.randn(1, 1024)
    with torch.no_grad():
        linear.weight.normal_()
        linear.weight[:, 5] = 1000
    x[:, :64] = 0  # the outlier's group
    assert deviation(linear, x) < 0.01


@pytest.mark.parametrize("level", [1e-8, 1e-3, 1e8])
def test_accuracy_does_not_depend_on_the_level(level: float) -> None:
    linear, x = nn.Linear(128, 32, bias=False), torch.randn(1, 128)
    with torch.no_grad():
        linear.weight *= level
    assert deviation(linear, x) < 0.01
    assert deviation(linear, x / level) < 0.01


@pytest.mark.parametrize("width", [16, 48, 100, 37])
def test_groups_divide_any_width(width: int) -> None:
    assert deviation(nn.Linear(width, 24), torch.randn(1, width)) < 0.01


def test_several_rows_give_the_results_of_each() -> None:
    modulation, x = Int8Modulation(nn.Linear(128, 48), CPU), torch.randn(3, 128)
    rows = torch.cat([modulation(row) for row in x.split(1)])
    assert torch.allclose(modulation(x), rows, rtol=1e-6)


def test_zeros_stay_zeros() -> None:
    linear = nn.Linear(64, 16)
    nn.init.zeros_(linear.weight)
    assert torch.equal(Int8Modulation(linear, CPU)(torch.ones(1, 64))[0], linear.bias)


def test_a_modulation_stores_about_half_the_bytes() -> None:
    linear = nn.Linear(128, 256, dtype=torch.bfloat16)
    modulation = Int8Modulation(linear, CPU)
    assert modulation.bias is linear.bias
    assert sum(buffer.nbytes for buffer in modulation.buffers()) == 128 * 256 + 2 * 2 * 256

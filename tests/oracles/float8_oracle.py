"""8-bit linears against torchao's row-wise e4m3: the same scales, numbers and products.

Not part of the suite, and torchao is no dependency: diffusers imports torchao wherever it is
installed, so every other test would run in another environment than the server. Run it with

    pip install --no-deps --target build/torchao torchao==0.18.0
    PYTHONPATH=build/torchao python -m pytest tests/oracles/float8_oracle.py

Given float32 and our smallest maximum, torchao's scales and numbers are ours bit for bit. By
default it differs in two ways:
- it divides the largest number of a row in the dtype of the row, so in bfloat16 its scale is
  off by half a unit in the last place and an 8-bit number may be the neighbour of ours;
- it has no smallest maximum, so a row of zeros becomes NaN. Ours is 1e-12.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.flux.float8 import Float8Linear, _rounded

with warnings.catch_warnings():
    # Invalid escapes in torchao's strings; Python reports them when it first compiles a module.
    warnings.simplefilter("ignore")
    from torchao.float8.inference import Float8MMConfig
    from torchao.quantization import PerRow
    from torchao.quantization.quantize_.common import KernelPreference
    from torchao.quantization.quantize_.workflows.float8.float8_tensor import (
        Float8Tensor,
        QuantizeTensorToFloat8Kwargs,
    )

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SMALLEST_MAXIMUM = 1e-12
WIDTHS = [3072, 12288, 15360]
"""Inputs of FLUX's linear layers."""

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def oracle(rows: Tensor, **options: Any) -> Float8Tensor:
    return Float8Tensor.from_hp(
        rows, granularity=PerRow(), kernel_preference=KernelPreference.TORCH, **options
    )


def codes(numbers: Tensor) -> Tensor:
    """The 8-bit numbers as consecutive integers, in the order of their values."""
    bits = numbers.view(torch.uint8).int()
    return torch.where(bits < 128, bits, 128 - bits)


def assert_same(rows: Tensor) -> None:
    """Scales and bits are equal, NaN included."""
    numbers, scale = _rounded(rows)
    expected = oracle(rows.float(), hp_value_lb=SMALLEST_MAXIMUM)
    torch.testing.assert_close(scale, expected.scale, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(numbers.view(torch.uint8), expected.qdata.view(torch.uint8))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("level", [1e-20, 1e-3, 1.0, 1e4])
def test_scales_and_numbers_are_the_same(width: int, dtype: torch.dtype, level: float) -> None:
    assert_same((torch.randn(33, width) * level).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "extreme",
    [
        pytest.param([0.0], id="zeros"),
        pytest.param([-0.0], id="negative-zeros"),
        pytest.param([1e-40, -3e-39, 0.0], id="denormals"),
        pytest.param([1e-12], id="the-smallest-maximum"),
        pytest.param([0.9e-12, -1e-13], id="below-the-smallest-maximum"),
        pytest.param([3e38, 1.0, -2.0], id="one-huge-outlier"),
        pytest.param([-3e38, 3e38], id="both-ends"),
        pytest.param([NAN, 1.0, 0.0], id="nan"),
        pytest.param([INF, 1.0, -INF, 0.0], id="infinity"),
        pytest.param([INF, NAN], id="infinity-and-nan"),
    ],
)
def test_extreme_rows_are_the_same_and_leave_other_rows_alone(
    dtype: torch.dtype, extreme: list[float]
) -> None:
    rows = torch.randn(3, 48, dtype=dtype)
    numbers, scale = _rounded(rows)
    rows[1] = torch.tensor(extreme).repeat(48)[:48]
    assert_same(rows)
    others = torch.tensor([0, 2])
    changed_numbers, changed_scale = _rounded(rows)
    assert torch.equal(changed_scale[others], scale[others])
    assert torch.equal(changed_numbers[others].float(), numbers[others].float())


@pytest.mark.parametrize("width", WIDTHS)
def test_torchao_in_bfloat16_chooses_a_neighbour_at_most(width: int) -> None:
    rows = torch.randn(33, width, dtype=torch.bfloat16)
    numbers, scale = _rounded(rows)
    expected = oracle(rows)
    # Half a unit in the last place of bfloat16.
    torch.testing.assert_close(expected.scale, scale, rtol=2**-8, atol=0)
    distance = (codes(expected.qdata) - codes(numbers)).abs()
    assert int(distance.max()) == 1
    assert float(distance.float().mean()) < 0.05


def test_torchao_without_a_smallest_maximum_has_no_number_for_zeros() -> None:
    zeros = torch.zeros(2, 32)
    assert bool(oracle(zeros).qdata.float().isnan().all())
    assert bool((_rounded(zeros)[0].float() == 0).all())


def products(linear: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Ours by the arguments of the matrix unit, and torchao's."""
    activations = QuantizeTensorToFloat8Kwargs(
        granularity=PerRow(), kernel_preference=KernelPreference.TORCH
    )
    weight = oracle(
        linear.weight.detach(),
        mm_config=Float8MMConfig(use_fast_accum=True),
        act_quant_kwargs=activations,
    )
    return Float8Linear(linear, CPU, native=True)(x), functional.linear(x, weight, linear.bias)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_equal_in_float32(width: int, bias: bool) -> None:
    ours, theirs = products(nn.Linear(width, 48, bias=bias), torch.randn(2, 17, width))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("width", WIDTHS)
def test_products_in_bfloat16_differ_by_less_than_8_bits_themselves(width: int) -> None:
    linear = nn.Linear(width, 48, dtype=torch.bfloat16)
    x = torch.randn(2, 17, width, dtype=torch.bfloat16)
    exact = functional.linear(x.float(), linear.weight.float(), linear.bias.float())
    ours, theirs = (product.float() for product in products(linear, x))
    error, distance = (float((other - ours).norm() / exact.norm()) for other in (exact, theirs))
    assert distance < 0.02 < error < 0.05
    assert error <= float((exact - theirs).norm() / exact.norm()) * 1.02

"""Linear layers in 8-bit floating point, scaled by row: half the bytes, twice the arithmetic rate.

Weights are rounded once, with one scale per output channel; activations in every call, with one
scale per token. Products are summed in float32. A device without 8-bit matrix units rounds the same
way and multiplies in the model's dtype: the same result up to the order of sums, but not faster.
Format: e4m3 (Micikevicius et al., arXiv 2209.05433). models/flux/modulation.py has the layers that
multiply a single row.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.flux.modulation import Int8Modulation
from models.flux.projections import fuse_projections

FORMAT = torch.float8_e4m3fn
_MULTIPLE = 16
"""Matrix units require both sides of a weight to be multiples of this."""

Network = TypeVar("Network", bound=nn.Module)


class Float8Linear(nn.Module):
    """The 8-bit replacement of a Linear: [..., in] -> [..., out] in the input's dtype."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, place: torch.device, native: bool) -> None:
        """place: the device of the 8-bit weight. `linear` is not moved."""
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().to(place))
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias, self._native = linear.bias, native

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = _rounded(x.reshape(-1, x.shape[-1]))
        if self._native:
            result = torch._scaled_mm(
                rows,
                self.weight.t(),
                scale_a=scale,
                scale_b=self.scale.t(),
                bias=self.bias,
                out_dtype=x.dtype,
                use_fast_accum=True,
            )
        else:
            weight = (self.weight.float() * self.scale).to(x.dtype)
            result = functional.linear((rows.float() * scale).to(x.dtype), weight, self.bias)
        return result.reshape(*x.shape[:-1], -1)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows in 8 bits and their scales, float32 [n, 1]."""
    # Not a global: the compiler would pass it to every graph as an input, a float64 on the CPU.
    largest = torch.finfo(FORMAT).max
    scale = rows.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / largest
    return (rows.float() / scale).clamp(-largest, largest).to(FORMAT), scale


def native(device: torch.device) -> bool:
    """Whether the device multiplies row-scaled 8-bit matrices (Ada, Hopper and later)."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        return False
    rows, scale = _rounded(torch.ones(_MULTIPLE, _MULTIPLE, device=device))
    try:
        torch._scaled_mm(rows, rows.t(), scale_a=scale, scale_b=scale.t(), out_dtype=torch.bfloat16)
    except RuntimeError:  # some supported devices lack row scaling in older versions
        return False
    return True


def in_float8(network: Network, place: torch.device, native: bool) -> Network:
    """A copy of a FLUX network on `place` whose blocks' large Linear layers are Float8Linear, and
    whose modulations are Int8Modulation.

    All other tensors are shared with `network` and move to `place` too: biases, the norms of
    queries and keys, and the layers outside the blocks. Query, key and value become one layer
    (models/flux/projections.py), whose bias is not shared.
    """
    shared: dict[int, Any] = {
        id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())
    }
    copied: Any = copy.deepcopy(network, shared)
    for blocks in (copied.transformer_blocks, copied.single_transformer_blocks):
        for block in blocks:
            fuse_projections(block)
            _replace(block, place, native)
    on_place: Network = copied.to(place)
    return on_place


def _replace(
    module: nn.Module, place: torch.device, native: bool, modulation: bool = False
) -> None:
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            _replace(child, place, native, modulation=name.startswith("norm"))
        elif modulation:
            setattr(module, name, Int8Modulation(child, place))
        elif _fits(child):
            setattr(module, name, Float8Linear(child, place, native))


def _fits(linear: nn.Linear) -> bool:
    return linear.in_features % _MULTIPLE == 0 and linear.out_features % _MULTIPLE == 0

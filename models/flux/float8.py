"""Linear layers in 8-bit floating point, scaled by row: half the bytes, twice the arithmetic rate.

Weights are rounded once, one scale for each output channel; activations in every call, one scale
for each token. The products are summed in float32. Where the device has no 8-bit matrix units the
same rounding is done and the product taken in the model's own precision: the same result up to
the order of sums, without the speed. Format: e4m3 (Micikevicius et al., arXiv 2209.05433).
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

FORMAT = torch.float8_e4m3fn
LARGEST = torch.finfo(FORMAT).max
_MULTIPLE = 16
"""Matrix units want both sides of a weight to be multiples of this."""

Network = TypeVar("Network", bound=nn.Module)


class Float8Linear(nn.Module):
    """What a Linear becomes: [..., in] -> [..., out] in the input's dtype."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, place: torch.device, native: bool) -> None:
        """place: where the weight lives; `linear` stays where it is."""
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().to(place))
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias, self._native = linear.bias, native

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = _rounded(x.reshape(-1, x.shape[-1]))
        if self._native:
            made = torch._scaled_mm(
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
            made = functional.linear((rows.float() * scale).to(x.dtype), weight, self.bias)
        return made.reshape(*x.shape[:-1], -1)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in 8 bits and what each must be multiplied by, float32 [n, 1]."""
    scale = rows.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (rows.float() / scale).clamp(-LARGEST, LARGEST).to(FORMAT), scale


def native(device: torch.device) -> bool:
    """Whether the device multiplies row-scaled 8-bit matrices (Ada, Hopper and later)."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        return False
    rows, scale = _rounded(torch.ones(_MULTIPLE, _MULTIPLE, device=device))
    try:
        torch._scaled_mm(rows, rows.t(), scale_a=scale, scale_b=scale.t(), out_dtype=torch.bfloat16)
    except RuntimeError:  # the scaling by rows came to some of them late
        return False
    return True


def in_float8(network: Network, place: torch.device, native: bool) -> Network:
    """A copy of a FLUX network, living in `place`, whose blocks' large Linear layers are
    Float8Linear.

    Everything else is shared with `network`, which moves to `place` with it. The modulations keep
    their precision: at one row each they have no arithmetic to save.
    """
    shared: dict[int, Any] = {
        id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())
    }
    copied: Any = copy.deepcopy(network, shared)
    for blocks in (copied.transformer_blocks, copied.single_transformer_blocks):
        for block in blocks:
            _replace(block, place, native)
    moved: Network = copied.to(place)
    return moved


def _replace(module: nn.Module, place: torch.device, native: bool) -> None:
    for name, child in module.named_children():
        if name.startswith("norm"):
            continue
        if isinstance(child, nn.Linear) and _fits(child):
            setattr(module, name, Float8Linear(child, place, native))
        else:
            _replace(child, place, native)


def _fits(linear: nn.Linear) -> bool:
    return linear.in_features % _MULTIPLE == 0 and linear.out_features % _MULTIPLE == 0

"""A modulation's Linear with its weights in 8 bits, for the single row that it multiplies.

The modulations are a quarter of the weights in FLUX's blocks. Their input is one row, the embedding
of time and text, so their speed is that of reading them. Only the weights are rounded. They are
integers and 64 of them share a scale, so an outlier affects only its group. 8-bit floats would add
a tenth to the error of the other 8-bit layers, integers add a hundredth (docs/performance.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_GROUP = 64
"""Neighbouring weights of a row that share a scale, if they divide the row."""

_LARGEST = 127


class Int8Modulation(nn.Module):
    """The 8-bit replacement of a Linear whose input has one row: [1, in] -> [1, out].

    Correct for more rows, but its memory grows with them.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, place: torch.device) -> None:
        """place: the device of the 8-bit weight. `linear` is not moved."""
        super().__init__()
        exact = linear.weight.detach().to(place)
        group = math.gcd(linear.in_features, _GROUP)
        groups = exact.reshape(linear.out_features, -1, group).float()
        scale = (groups.abs().amax(dim=-1, keepdim=True) / _LARGEST).clamp(min=1e-12)
        scale = scale.to(exact.dtype)
        weight = (groups / scale.float()).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
        self.register_buffer("weight", weight)  # [out, groups, weights of a group]
        self.register_buffer("scale", scale)  # [out, groups, 1]
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        # Not a matrix product: Inductor would store the weights in 16 bits before it. This becomes
        # one kernel that reads 8 bits, and eager stores no more than the weights in x's dtype.
        products = self.weight * x.reshape(-1, 1, *self.weight.shape[1:])
        result = products.mul_(self.scale).sum(dim=(-2, -1), dtype=torch.float32)
        if self.bias is not None:
            result = result + self.bias
        return result.to(x.dtype)

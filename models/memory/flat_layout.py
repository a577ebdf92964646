"""The layout of a module's tensors in one flat buffer, for weight streaming and memory plans.

Copies nothing. Torch-free: it only asks the module, which may be on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

SLOTS = 3
"""Flat buffers on the device: one in use, one ready, one that is being filled. 3 divides FLUX's 57,
Union-Pro's 15 and Union-Pro-2.0's 6 blocks, so two consecutive blocks are in different slots, with
and without the ControlNet."""

_ALIGNMENT = 256
"""Bytes; as the allocator of CUDA aligns. Kernels read 16 bytes at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter or buffer, as `name` of `part`, and its offset in the flat buffer in bytes."""

    part: nn.Module
    name: str
    tensor: Tensor
    offset: int


def places(module: nn.Module) -> Iterator[Place]:
    """The places of all parameters and buffers, by ascending offset."""
    offset = 0
    for part in module.modules():
        for name, tensor in (
            *part.named_parameters(recurse=False),
            *part.named_buffers(recurse=False),
        ):
            yield Place(part, name, tensor, offset)
            offset += _aligned(tensor.nbytes)


def flat_bytes(module: nn.Module) -> int:
    """The size in bytes of the module's flat buffer."""
    return sum(_aligned(place.tensor.nbytes) for place in places(module))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT

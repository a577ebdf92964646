"""Low-rank side paths beside a network's linear layers, whose own weights never change.

Owns the forward pass of an adapted layer: layer(x) + up(down(x)), with every LoRA of a request
stacked along the rank. So removing a LoRA restores every bit, and weights in 8 bits or streamed
from the host need no copy. Merging would round the weights, and could only be undone from a second
copy of them. Knows no file and no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.flux.float8 import Float8Linear
from models.flux.modulation import Int8Modulation
from models.flux.projections import PROJECTIONS


@dataclass(frozen=True, slots=True)
class SidePath:
    """What is added to a layer's result: x @ down.T @ up.T.

    down: [parts * rank, in]. up: [out, parts * rank], scaled. A layer has one part, a fused
    projection three; then `up` has a block for each part, and zeros.
    """

    down: Tensor
    up: Tensor

    def added(self, result: Tensor, x: Tensor) -> Tensor:
        """result: of the layer for x. One product, so that no second tensor of its size stays."""
        narrow = functional.linear(x, self.down).flatten(end_dim=-2)
        return torch.addmm(result.flatten(end_dim=-2), narrow, self.up.t()).view_as(result)


class Adaptable(nn.Module):
    """A linear layer with an optional side path. Compiled blocks have one graph for each case."""

    side_path: SidePath | None

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x)
        return result if self.side_path is None else self.side_path.added(result, x)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a linear layer."""

    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class AdaptableLayer:
    """A linear layer of a network. parts: the names that LoRAs use for the parts of its result.
    shape: of one part. block: the name of the block that it is in, which is compiled as a whole;
    None outside of blocks."""

    module: Adaptable
    parts: tuple[str, ...]
    shape: Shape
    block: str | None


class AdaptableLayers:
    """Every linear layer of a network, made adaptable in place. Make it before compiling.

    blocks: the names of the network's lists of blocks.
    """

    def __init__(self, network: nn.Module, blocks: tuple[str, ...] = ()) -> None:
        self.all = tuple(_adaptable_layers(network, blocks))
        self.shapes: Mapping[str, Shape] = {
            part: layer.shape for layer in self.all for part in layer.parts
        }

    def set(self, side_paths: Mapping[Adaptable, SidePath]) -> None:
        for module, side_path in side_paths.items():
            module.side_path = side_path

    def clear(self) -> None:
        for layer in self.all:
            layer.module.side_path = None


def _adaptable_layers(network: nn.Module, blocks: tuple[str, ...]) -> list[AdaptableLayer]:
    layers = []
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | Float8Linear | Int8Modulation):
            continue
        adapted: nn.Module = module
        adapted.__class__ = _adaptable_class(type(module))
        assert isinstance(adapted, Adaptable)
        adapted.side_path = None
        parent, _, own = name.rpartition(".")
        parts = tuple(f"{parent}.{part}" for part in PROJECTIONS[own]) if own in PROJECTIONS else ()
        inputs, outputs = _features(module)
        shape = Shape(inputs, outputs // max(1, len(parts)))
        path = name.split(".")
        block = ".".join(path[:2]) if path[0] in blocks else None
        layers.append(AdaptableLayer(adapted, parts or (name,), shape, block))
    return layers


def _features(module: Any) -> tuple[int, int]:
    """Inputs and outputs. The weight is [out, in], or [out, groups, weights of a group]."""
    outputs, *inputs = module.weight.shape
    return int(torch.Size(inputs).numel()), int(outputs)


_ADAPTABLE_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}
"""One subclass for each class of layers, because compiled blocks share graphs by class."""


def _adaptable_class(original: type[nn.Module]) -> type[nn.Module]:
    if issubclass(original, Adaptable):  # an 8-bit network shares layers with the exact one
        return original
    if original not in _ADAPTABLE_CLASSES:
        _ADAPTABLE_CLASSES[original] = type(original.__name__, (Adaptable, original), {})
    return _ADAPTABLE_CLASSES[original]

"""Stacks the LoRAs of a request into one side path for each layer.

Owns the tensors on the device and how many bytes were copied there. Knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import LoraError
from models.loras.layers import Adaptable, AdaptableLayer, AdaptableLayers, Shape, SidePath
from models.loras.lora_options import padded_rank
from models.loras.low_rank import LowRank


@dataclass(frozen=True, slots=True)
class ScaledChanges:
    """A LoRA's changes of one network, by layer, and the factor on them. name: for errors."""

    name: str
    scale: float
    changes: Mapping[str, LowRank]

    @property
    def rank(self) -> int:
        """The largest of its layers."""
        return max((change.rank for change in self.changes.values()), default=0)


@dataclass(frozen=True, slots=True)
class Stack:
    """The side paths of a network's layers on a device. copied: bytes that came from the host."""

    side_paths: Mapping[Adaptable, SidePath]
    copied: int = 0


def check_fit(lora: ScaledChanges, shapes: Mapping[str, Shape]) -> None:
    """Raises LoraError unless every change is one of a layer of this network."""
    for layer, change in lora.changes.items():
        shape = shapes.get(layer)
        if shape is None:
            raise LoraError(lora.name, f"the model has no layer {layer}")
        own = Shape(change.down.shape[1], change.up.shape[0])
        if own != shape:
            raise LoraError(
                lora.name,
                f"it is made for another model: its layer {layer} has {own.inputs} inputs and "
                f"{own.outputs} outputs, the model's has {shape.inputs} and {shape.outputs}",
            )


def stack(
    layers: AdaptableLayers,
    loras: Sequence[ScaledChanges],
    device: torch.device,
    dtype: torch.dtype,
) -> Stack:
    """The side paths of `loras` together. All have one rank, the sum of the LoRAs' own, so that all
    blocks of a class share a graph. A block with a change has a side path at every layer.

    Raises LoraError when a LoRA does not fit the network.
    """
    for lora in loras:
        check_fit(lora, layers.shapes)
    maker = _Maker(device, dtype, padded_rank(sum(lora.rank for lora in loras)))
    changed = {part for lora in loras for part in lora.changes}
    blocks = {layer.block for layer in layers.all if changed.intersection(layer.parts)} - {None}
    side_paths = {
        layer.module: maker.side_path(layer, loras)
        for layer in layers.all
        if layer.block in blocks or changed.intersection(layer.parts)
    }
    return Stack(side_paths, maker.copied)


class _Maker:
    """Makes the side paths of one rank. copied: bytes from the host so far."""

    def __init__(self, device: torch.device, dtype: torch.dtype, rank: int) -> None:
        self._device, self._dtype, self._rank = device, dtype, rank
        self.copied = 0

    def side_path(self, layer: AdaptableLayer, loras: Sequence[ScaledChanges]) -> SidePath:
        """Zeros where no LoRA changes the layer. Layers share no tensor: a graph would be of those
        that share the same ones."""
        parts, shape, rank = layer.parts, layer.shape, self._rank
        down = self._zeros(len(parts) * rank, shape.inputs)
        up = self._zeros(len(parts) * shape.outputs, len(parts) * rank)
        blocks = zip(up.split(shape.outputs), range(0, up.shape[1], rank), strict=True)
        for part, (rows, start) in zip(parts, blocks, strict=True):
            for lora in loras:
                change = lora.changes.get(part)
                if change is not None:
                    own = slice(start, start + change.rank)
                    down[own] = self._copied(change.down)
                    # Rounded once, after both factors.
                    rows[:, own] = self._copied(change.up).float() * (change.scaling * lora.scale)
                start += lora.rank
        for tensor, dimension in ((down, 0), (up, 1)):
            # Else a rank that equals another size of the graph's inputs is taken for the same size.
            torch._dynamo.maybe_mark_dynamic(tensor, dimension)
        return SidePath(down, up)

    def _copied(self, tensor: Tensor) -> Tensor:
        self.copied += tensor.nbytes
        return tensor.to(self._device)

    def _zeros(self, rows: int, columns: int) -> Tensor:
        return torch.zeros(rows, columns, device=self._device, dtype=self._dtype)

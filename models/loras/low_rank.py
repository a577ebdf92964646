"""The weights of a LoRA by the names of the layers that they change. Knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one layer's weight: scaling * up @ down. down: [rank, in]. up: [out, rank].
    scaling: alpha / rank, where the tensors do not have it already."""

    down: Tensor
    up: Tensor
    scaling: float = 1.0

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """The changes of a LoRA by the names of the layers in diffusers' and transformers' classes:
    of the transformer and of CLIP. The tensors are on the CPU, in the file's dtype."""

    transformer: Mapping[str, LowRank]
    text_encoder: Mapping[str, LowRank]

    @property
    def rank(self) -> int:
        """The largest of all layers."""
        return max(change.rank for change in self._changes())

    @property
    def bytes(self) -> int:
        sizes = {
            tensor.data_ptr(): tensor.nbytes
            for change in self._changes()
            for tensor in (change.down, change.up)
        }
        return sum(sizes.values())

    def _changes(self) -> tuple[LowRank, ...]:
        return (*self.transformer.values(), *self.text_encoder.values())

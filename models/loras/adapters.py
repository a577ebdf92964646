"""Applies the LoRAs of a request to the networks for the time of that request.

Owns what is on the device: the side paths of the last request with LoRAs, which the next one with
the same LoRAs uses again. Nothing is compiled and no base weight is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from models.errors import LoraError
from models.loras.host_cache import LoraCache
from models.loras.layers import AdaptableLayers
from models.loras.low_rank import LoraWeights, LowRank
from models.loras.stack import ScaledChanges, Stack, stack
from models.spec import Lora

log = logging.getLogger(__name__)

_BLANK = Lora("blank", sha256="blank")


@dataclass(frozen=True, slots=True)
class _Applied:
    """The stacks of a set of LoRAs. key: the LoRAs and the transformer."""

    key: Hashable
    transformer: Stack
    text_encoder: Stack


class Adapters:
    """The LoRAs of a loaded checkpoint. Not thread-safe.

    text_encoder: CLIP's layers. max_rank: of all LoRAs of a request together. copied: bytes that
    were copied to the device so far. of_text: identifies the LoRAs that CLIP has now; None if it
    has none.
    """

    def __init__(
        self,
        cache: LoraCache,
        text_encoder: AdaptableLayers,
        device: torch.device,
        dtype: torch.dtype,
        max_rank: int,
    ) -> None:
        self._cache, self._text_encoder = cache, text_encoder
        self._device, self._dtype, self._max_rank = device, dtype, max_rank
        self._last: _Applied | None = None
        self.copied = 0
        self.of_text: Hashable = None

    @contextmanager
    def applied(self, loras: Sequence[Lora], transformer: AdaptableLayers | None) -> Iterator[None]:
        """While active, both networks have these LoRAs. Those of scale 0 change nothing.

        Raises LoraError when one cannot be applied.
        """
        loras = tuple(lora for lora in loras if lora.scale != 0)
        if not loras:
            yield
            return
        assert transformer is not None
        stacks = self._stacks(loras, transformer)
        try:
            transformer.set(stacks.transformer.side_paths)
            self._text_encoder.set(stacks.text_encoder.side_paths)
            self.of_text = loras if stacks.text_encoder.side_paths else None
            yield
        finally:
            transformer.clear()
            self._text_encoder.clear()
            self.of_text = None

    def blank(self, transformer: AdaptableLayers) -> Lora:
        """A LoRA that changes every layer of the transformer by 0, for the warm-up."""
        changes = {
            name: LowRank(torch.zeros(1, shape.inputs), torch.zeros(shape.outputs, 1))
            for name, shape in transformer.shapes.items()
        }
        self._cache.put(_BLANK.sha256, LoraWeights(changes, {}))
        return _BLANK

    def _stacks(self, loras: tuple[Lora, ...], transformer: AdaptableLayers) -> _Applied:
        key = loras, id(transformer)
        if self._last is None or self._last.key != key:
            self._last = None  # its memory is needed
            self._last = self._stacked(loras, transformer, key)
        return self._last

    def _stacked(
        self, loras: tuple[Lora, ...], transformer: AdaptableLayers, key: Hashable
    ) -> _Applied:
        weights = [self._cache.get(lora) for lora in loras]
        rank = sum(own.rank for own in weights)
        if rank > self._max_rank:
            raise LoraError(
                ", ".join(lora.name for lora in loras),
                f"rank {rank} in all is more than this server allows, {self._max_rank} "
                "(LORAS_MAX_RANK)",
            )
        stacks = [
            stack(
                layers,
                [
                    ScaledChanges(lora.name, lora.scale, getattr(own, network))
                    for lora, own in zip(loras, weights, strict=True)
                ],
                self._device,
                self._dtype,
            )
            for layers, network in (
                (transformer, "transformer"),
                (self._text_encoder, "text_encoder"),
            )
        ]
        copied = sum(one.copied for one in stacks)
        self.copied += copied
        log.info(
            "LoRAs %s: rank %d, %.1f MB copied to the device",
            ", ".join(lora.name for lora in loras),
            rank,
            copied / 1e6,
        )
        return _Applied(key, *stacks)

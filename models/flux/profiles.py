"""The speed profiles: which weights an evaluation uses, and how many evaluations run.

exact: the checkpoint's own weights, every evaluation. fast: large weights and activations in 8
bits. turbo: fast with the step cache of models/step_cache.py. Only exact changes no result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from models.flux.compilation import compile_blocks
from models.flux.float8 import in_float8, native
from models.flux.weight_streaming import WeightStream
from models.loras.layers import AdaptableLayers
from models.memory.plans import MemoryPlan

if TYPE_CHECKING:
    from diffusers import FluxControlNetModel, FluxTransformer2DModel

log = logging.getLogger(__name__)


_BLOCKS = ("transformer_blocks", "single_transformer_blocks")


@dataclass(frozen=True, slots=True)
class NetworkPair:
    """layers: the transformer's, which LoRAs adapt; None for networks that serve no request."""

    transformer: FluxTransformer2DModel
    controlnet: FluxControlNetModel
    layers: AdaptableLayers | None = None

    def adaptable(self) -> NetworkPair:
        """The same networks with `layers`. Call it before compiling."""
        # The ControlNet's layers have the same classes, so that its blocks share the transformer's
        # graphs. No LoRA adapts them.
        AdaptableLayers(self.controlnet, _BLOCKS)
        return replace(self, layers=AdaptableLayers(self.transformer, _BLOCKS))

    def blocks(self) -> list[torch.nn.Module]:
        """All blocks of both networks, in the order of execution."""
        return [
            block
            for network in (self.controlnet, self.transformer)
            for blocks in _BLOCKS
            for block in getattr(network, blocks)
        ]


@dataclass(slots=True)
class Networks:
    """Both networks in the dtypes requested so far. `loaded`: the checkpoint's own; a plan that
    stores 8 bits replaces them by their 8-bit copies (then None).
    """

    loaded: NetworkPair | None
    device: torch.device
    plan: MemoryPlan
    compiled: bool
    weight_stream: WeightStream | None = None
    """The one that the text encoders use too; None: a plan that streams blocks makes its own."""
    _float8: NetworkPair | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        assert self.loaded is not None
        if not self.plan.exact:
            self._float8 = self._in_float8(self.loaded)
            self.loaded = None
            return
        self.loaded = self.loaded.adaptable()
        if self.compiled:
            compile_blocks(self.loaded.blocks())

    def profile(self, requested: str) -> str:
        """The profile that serves `requested` on this card."""
        return self.plan.profile(requested)

    def of(self, profile: str) -> NetworkPair:
        """The networks of a profile. The first call for 8 bits takes seconds to convert them.

        Raises ValueError for a profile that profile() replaces by another.
        """
        if self.profile(profile) != profile:
            raise ValueError(f"the memory plan has no room for the profile {profile}")
        if profile == "exact":
            assert self.loaded is not None
            return self.loaded
        if self._float8 is None:
            assert self.loaded is not None
            self._float8 = self._in_float8(self.loaded)
        return self._float8

    def _in_float8(self, pair: NetworkPair) -> NetworkPair:
        supported = native(self.device)
        if not supported:
            log.warning("%s has no 8-bit matrix units: fast is not faster here", self.device)
        place = torch.device("cpu") if self.plan.blocks_streamed else self.device
        converted = NetworkPair(
            in_float8(pair.transformer, place, supported),
            in_float8(pair.controlnet, place, supported),
        ).adaptable()
        if self.plan.blocks_streamed:
            weight_stream = self.weight_stream or WeightStream(self.device)
            weight_stream.add(converted.blocks())
            for network in (converted.transformer, converted.controlnet):
                _move_all_but_blocks(network, self.device)
        if self.compiled:
            compile_blocks(converted.blocks())
        return converted


def _move_all_but_blocks(network: torch.nn.Module, device: torch.device) -> None:
    for name, child in network.named_children():
        if name not in _BLOCKS:
            child.to(device)

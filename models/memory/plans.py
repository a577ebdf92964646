"""The memory plans: which weights stay on a card, chosen from its free memory before loading.

Owns the plans and their sizes in bytes. Torch-free arithmetic; the loader applies a plan. The
working memory per pixel is a conservative estimate from the shapes (docs/performance.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from models.geometry import MAX_SIDE

GB = 1000**3
WORKING = 4 * GB
"""Bytes left free beside the weights, for the smallest useful picture, 1024x1024."""

_BYTES_PER_PIXEL = 1000
"""Tokens, attention and ControlNet residuals of one evaluation in bfloat16, per pixel."""

_DECODER_BYTES_PER_PIXEL = 2600
"""The widest feature maps of the autoencoder's decoder in bfloat16, per pixel coded."""

_TILE_ABOVE = 2048 * 2048


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a checkpoint's parts in bfloat16. networks: transformer and ControlNet; encoders:
    both text encoders; rest: autoencoder and annotators."""

    networks: int
    encoders: int
    rest: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where the weights are stored.

    encoders_streamed: the text encoders are stored on the host and streamed to the card.
    float8: the networks' large weights are stored in 8 bits; the profile exact is unavailable.
    blocks_streamed: the networks' blocks are stored on the host and streamed to the card in turn.
    weights: resident bytes on the card. tile_above: the autoencoder tiles pictures with more
    pixels. max_pixels: the largest picture; None if unknown.
    """

    name: str
    encoders_streamed: bool = False
    float8: bool = False
    blocks_streamed: bool = False
    weights: int = 0
    tile_above: int = _TILE_ABOVE
    max_pixels: int | None = None

    def __str__(self) -> str:
        if self.max_pixels is None:
            return f"{self.name}: everything in the host's memory"
        streamed = "streamed from the host"
        parts = [
            f"networks' blocks {streamed}" if self.blocks_streamed else "networks on the card",
            "weights in 8 bits" if self.float8 else "weights in 16 bits",
            f"text encoders {streamed}" if self.encoders_streamed else "text encoders too",
            f"{self.weights / GB:.1f} GB of weights resident",
            f"up to {self.max_pixels} pixels a picture",
        ]
        return f"{self.name}: {', '.join(parts)}"


HOST_PLAN = MemoryPlan("host")
"""Without a card: everything in the host's memory."""


def choose_plan(free: int, footprint: Footprint) -> MemoryPlan | None:
    """The fastest plan that leaves WORKING of `free` bytes; None when no plan fits."""
    for plan in _plans(footprint):
        room = free - plan.weights
        if room >= WORKING:
            return MemoryPlan(
                plan.name,
                plan.encoders_streamed,
                plan.float8,
                plan.blocks_streamed,
                plan.weights,
                tile_above=min(_TILE_ABOVE, room // _DECODER_BYTES_PER_PIXEL),
                max_pixels=min(MAX_SIDE**2, room // _BYTES_PER_PIXEL),
            )
    return None


def _plans(footprint: Footprint) -> tuple[MemoryPlan, ...]:
    """The plans with their resident bytes, from the fastest to the smallest."""
    # A weight in 8 bits takes half the bytes; its scales are negligible.
    networks, small = footprint.networks, footprint.networks // 2 + GB // 2
    block = GB // 2  # one streamed block, or one layer of a text encoder
    return (
        MemoryPlan("resident", weights=networks + footprint.encoders + footprint.rest),
        MemoryPlan(
            "text-visits", encoders_streamed=True, weights=networks + footprint.rest + block
        ),
        MemoryPlan(
            "float8", encoders_streamed=True, float8=True, weights=small + footprint.rest + block
        ),
        MemoryPlan(
            "float8-visits",
            encoders_streamed=True,
            float8=True,
            blocks_streamed=True,
            weights=footprint.rest + 3 * block,
        ),
    )

"""Which weights stay on a card, chosen from its free memory before anything is loaded.

Owns the plans and what they need in bytes. Torch-free arithmetic: the loader carries a plan out.
The working memory per pixel is an estimate from the shapes (docs/performance.md), on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.geometry import MAX_SIDE

GB = 1000**3
WORKING = 4 * GB
"""Left free for the smallest useful picture, 1024x1024, beside the weights."""

_BYTES_PER_PIXEL = 1000
"""Tokens, attention and ControlNet residuals of one evaluation in bfloat16, for each pixel."""

_DECODER_BYTES_PER_PIXEL = 2600
"""The widest maps of the autoencoder's decoder in bfloat16, for each pixel of a picture or tile."""

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
    """Where the weights live.

    encoders_wait: text encoders stay on the host and visit the card to encode.
    float8: the networks' large weights are stored in 8 bits; exact is not to be had then.
    blocks_wait: the networks' blocks stay on the host and visit the card in turn.
    weights: bytes on the card all the time. tile_above: pixels beyond which the autoencoder works
    in tiles. max_pixels: the largest picture; None where nothing is known.
    """

    name: str
    encoders_wait: bool = False
    float8: bool = False
    blocks_wait: bool = False
    weights: int = 0
    tile_above: int = _TILE_ABOVE
    max_pixels: int | None = None

    def __str__(self) -> str:
        if self.max_pixels is None:
            return f"{self.name}: everything in the host's memory"
        taken = [
            "networks' blocks visit from the host" if self.blocks_wait else "networks on the card",
            "weights in 8 bits" if self.float8 else "weights in 16 bits",
            "text encoders visit from the host" if self.encoders_wait else "text encoders too",
            f"{self.weights / GB:.1f} GB of weights stay",
            f"up to {self.max_pixels} pixels a picture",
        ]
        return f"{self.name}: {', '.join(taken)}"


HOST_PLAN = MemoryPlan("host")
"""Without a card: everything in the host's memory, which can grow."""


def choose_plan(free: int, footprint: Footprint) -> MemoryPlan | None:
    """The fastest plan that leaves WORKING of `free` bytes; None when not even the last fits."""
    for plan in _plans(footprint):
        room = free - plan.weights
        if room >= WORKING:
            return MemoryPlan(
                plan.name,
                plan.encoders_wait,
                plan.float8,
                plan.blocks_wait,
                plan.weights,
                tile_above=min(_TILE_ABOVE, room // _DECODER_BYTES_PER_PIXEL),
                max_pixels=min(MAX_SIDE**2, room // _BYTES_PER_PIXEL),
            )
    return None


def _plans(footprint: Footprint) -> tuple[MemoryPlan, ...]:
    """From the fastest to the smallest; weights beside each."""
    # In 8 bits a weight is half as long, its scales are nothing beside it.
    networks, small = footprint.networks, footprint.networks // 2 + GB // 2
    block = GB // 2  # one block and what a text encoder's layer needs while it visits
    return (
        MemoryPlan("resident", weights=networks + footprint.encoders + footprint.rest),
        MemoryPlan("text-visits", encoders_wait=True, weights=networks + footprint.rest + block),
        MemoryPlan(
            "float8", encoders_wait=True, float8=True, weights=small + footprint.rest + block
        ),
        MemoryPlan(
            "float8-visits",
            encoders_wait=True,
            float8=True,
            blocks_wait=True,
            weights=footprint.rest + 3 * block,
        ),
    )

"""The memory plans: which weights stay on a card and which on its host, chosen before loading.

Owns the plans and their sizes in bytes. Torch-free arithmetic; the loader applies a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.errors import CheckpointError
from models.geometry import MAX_SIDE
from models.loras.lora_options import NO_LORAS, LoraOptions, padded_rank
from models.memory.activations import Arithmetic, largest_decoding, largest_pixels
from models.memory.flat_layout import SLOTS
from models.memory.footprint import Footprint

GB = 1000**3
_GIB = 1024**3

CARD_RESERVE = GB
"""Bytes on the card for the caches of encoded prompts and maps (two of 256 MiB), the workspaces of
cuBLAS and cuDNN, and the allocator's unused remainders."""

HOST_RESERVE = 7 * GB
"""Bytes of the host for the system, Redis, the api, the cpu workers, torch and its kernels."""

_TILE_ABOVE = 2048 * 2048

_SMALLEST = 1024 * 1024
"""Pixels of the smallest useful picture: a plan that allows less is not used."""

_USUAL = 2048 * 2048
"""Pixels for which encoders give up their place on the card."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The memory that a plan divides.

    free: free bytes on the card. ram: bytes that the processes of the host may use. native: whether
    the card multiplies 8-bit matrices. compiled: whether blocks are compiled, which saves memory.
    """

    free: int
    ram: int
    native: bool = True
    compiled: bool = True

    @classmethod
    def of_size(cls, card: float, ram: float, native: bool = True) -> Machine:
        """A machine by the nominal sizes of its card and its RAM in GB (of 1024**3 bytes), with
        nothing else running: the driver and CUDA's context keep 1.5 % and 0.35 GB of a card, the
        kernel and the firmware 3 % of the RAM.
        """
        return cls(int(card * _GIB * 0.985) - 350_000_000, int(ram * _GIB * 0.97), native)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where the weights are stored.

    exact, float8: whether the card has room for the networks in 16 bits, and in 8 bits.
    encoders_streamed: the text encoder T5 is stored on the host and streamed to the card.
    blocks_streamed: the networks' blocks are stored on the host and streamed to the card in turn.
    weights: resident bytes on the card. host: bytes of streamed weights in the host's memory.
    tile_above: the autoencoder tiles pictures with more pixels. max_pixels: the largest picture
    that every profile of the plan can make; None if unknown.
    """

    name: str
    exact: bool = True
    float8: bool = True
    encoders_streamed: bool = False
    blocks_streamed: bool = False
    weights: int = 0
    host: int = 0
    tile_above: int = _TILE_ABOVE
    max_pixels: int | None = None

    def profile(self, requested: str) -> str:
        """The profile that serves a request for `requested`."""
        if requested == "exact":
            return "exact" if self.exact else "fast"
        return requested if self.float8 else "exact"

    def __str__(self) -> str:
        if self.max_pixels is None:
            return f"{self.name}: everything in the host's memory"
        bits = " and in ".join(["16"] * self.exact + ["8"] * self.float8)
        streamed = "streamed from the host"
        parts = [
            f"networks in {bits} bits {streamed if self.blocks_streamed else 'on the card'}",
            f"text encoders {streamed if self.encoders_streamed else 'too'}",
            f"weights {self.weights / GB:.1f} GB on the card and {self.host / GB:.1f} on the host",
            f"up to {self.max_pixels} pixels a picture",
        ]
        if not (self.exact and self.float8):
            served = "fast and turbo as exact" if self.exact else "exact as fast"
            parts.append(f"serves {served}")
        return f"{self.name}: {', '.join(parts)}"


HOST_PLAN = MemoryPlan("host")
"""Without a card: everything in the host's memory."""


def choose_plan(
    needs: Footprint, machine: Machine, profile: str, loras: LoraOptions = NO_LORAS
) -> MemoryPlan:
    """The fastest plan for requests of `profile` that fits the card and the RAM. It keeps room for
    the largest LoRAs on the card, and for their cache in the RAM.

    Raises CheckpointError, one sentence, when none fits.
    """
    if loras.folder is not None:
        machine = replace(machine, ram=machine.ram - loras.cache_bytes)
        needs = replace(needs, rest=needs.rest + padded_rank(loras.max_rank) * needs.lora_rank)
    plans = [_sized(plan, machine, loras) for plan in _plans(needs)]
    if profile != "exact":
        plans = [plan for plan in plans if plan.float8]
    for plan in plans:
        assert plan.max_pixels is not None
        if plan.host + HOST_RESERVE <= machine.ram and plan.max_pixels >= _wanted_pixels(plan):
            return plan
    raise CheckpointError(_refusal(plans, machine))


def _plans(needs: Footprint) -> tuple[MemoryPlan, ...]:
    """The plans with their bytes, from the fastest to the smallest."""
    exact = needs.networks + needs.encoders + needs.rest
    float8 = needs.float8 + needs.encoders + needs.rest
    # What the card has in place of T5's blocks, and of the networks' blocks.
    encoders = SLOTS * needs.largest_encoder_block - needs.encoder_blocks
    largest = max(needs.largest_encoder_block, needs.largest_float8_block)
    blocks = SLOTS * largest - needs.encoder_blocks - needs.float8_blocks
    on_host = needs.encoder_blocks
    return (
        MemoryPlan("exact-and-8-bit", weights=exact + needs.float8_beside),
        MemoryPlan("exact", float8=False, weights=exact),
        MemoryPlan(
            "exact-streamed-text",
            float8=False,
            encoders_streamed=True,
            weights=exact + encoders,
            host=on_host,
        ),
        MemoryPlan("8-bit", exact=False, weights=float8),
        MemoryPlan(
            "8-bit-streamed-text",
            exact=False,
            encoders_streamed=True,
            weights=float8 + encoders,
            host=on_host,
        ),
        MemoryPlan(
            "8-bit-streamed",
            exact=False,
            encoders_streamed=True,
            blocks_streamed=True,
            weights=float8 + blocks,
            host=on_host + needs.float8_blocks,
        ),
    )


def _sized(plan: MemoryPlan, machine: Machine, loras: LoraOptions) -> MemoryPlan:
    """The plan with the sizes of pictures that the memory beside its weights allows."""
    room = max(0, machine.free - plan.weights - CARD_RESERVE)
    kinds = [Arithmetic.EXACT] * plan.exact
    kinds += [Arithmetic.FLOAT8 if machine.native else Arithmetic.FLOAT8_EMULATED] * plan.float8
    adapted = loras.folder is not None
    return replace(
        plan,
        tile_above=min(_TILE_ABOVE, largest_decoding(room)),
        max_pixels=min(
            MAX_SIDE**2, *(largest_pixels(room, kind, machine.compiled, adapted) for kind in kinds)
        ),
    )


def _wanted_pixels(plan: MemoryPlan) -> int:
    """The pixels that a plan must allow to be preferred to the next smaller one."""
    if plan.exact and plan.float8:
        return MAX_SIDE**2
    return _SMALLEST if plan.encoders_streamed else _USUAL


def _refusal(plans: list[MemoryPlan], machine: Machine) -> str:
    free, ram = machine.free / GB, machine.ram / GB
    on_card = [plan for plan in plans if (plan.max_pixels or 0) >= _wanted_pixels(plan)]
    if not on_card:
        return (
            f"{free:.1f} GB are free on the card, too few for any memory plan: the smallest keeps "
            f"{plans[-1].weights / GB:.1f} GB of weights there, beside the memory of a picture"
        )
    needed = min(plan.host for plan in on_card) + HOST_RESERVE
    return (
        f"a card with {free:.1f} GB free keeps weights on the host, which needs "
        f"{needed / GB:.1f} GB of RAM; this machine has {ram:.1f} GB"
    )

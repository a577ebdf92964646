"""Memory: what the product's plan counts, beside which a measured peak stands.

The only place of the bench that asks models/memory for numbers.
"""

from __future__ import annotations

import torch

from models.checkpoints import CHECKPOINTS
from models.checkpoints.footprint import footprint
from models.flux.float8 import native
from models.memory.activations import Arithmetic, decoding_bytes, evaluation_bytes
from models.memory.footprint import Footprint
from models.memory.plans import Machine, MemoryPlan, choose_plan

GB = 1e9
_RAM = 128
"""GB of the machine in which a smaller card is simulated; nothing limits it."""


def free_bytes(card: int, device: torch.device) -> int:
    """What is free on a card of `card` GB with nothing else on it."""
    return _machine(card, device).free


def plan_of_card(card: int, device: torch.device) -> MemoryPlan:
    """The plan that the product takes for FLUX and the profile exact on a card of `card` GB.

    Raises CheckpointError where none fits.
    """
    return choose_plan(_needs(), _machine(card, device), "exact")


def planned_on_large_card(profile: str, device: torch.device, pixels: int) -> dict[str, float]:
    """What is counted for a picture while both text encoders and the networks in 16 bits are on
    the card, and those in 8 bits too unless the profile is exact."""
    needs = _needs()
    beside = 0 if profile == "exact" else needs.float8_beside
    return planned(needs.files + beside, profile, device, pixels)


def planned(weights: int, profile: str, device: torch.device, pixels: int) -> dict[str, float]:
    """What is counted for a picture beside `weights` bytes, in the figures of a row."""
    if profile == "exact":
        arithmetic = Arithmetic.EXACT
    else:
        arithmetic = Arithmetic.FLOAT8 if native(device) else Arithmetic.FLOAT8_EMULATED
    compiled = device.type == "cuda"
    picture = max(evaluation_bytes(pixels, arithmetic, compiled), decoding_bytes(pixels))
    return {
        "planned_resident_gb": round(weights / GB, 2),
        "planned_peak_gb": round((weights + picture) / GB, 2),
    }


def _machine(card: int, device: torch.device) -> Machine:
    return Machine.of_size(card, _RAM, native(device))


def _needs() -> Footprint:
    needs = footprint(CHECKPOINTS["flux-dev-union-pro"])
    assert needs is not None
    return needs

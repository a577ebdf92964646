"""Memory: the peak on the card beside what the product's memory plan counts.

The only place of the bench that knows models/memory.
"""

from __future__ import annotations

from typing import Any

import torch

from models.checkpoints import CHECKPOINTS
from models.memory import plans
from models.memory.plans import MemoryPlan

GB = 1e9


def chosen_plan(free: int) -> MemoryPlan | None:
    """The plan that the product takes for FLUX on a card with `free` bytes; None if none fits."""
    footprint = CHECKPOINTS["flux-dev-union-pro"].footprint
    assert footprint is not None
    return plans.choose_plan(free, footprint)


def planned_bytes(plan: MemoryPlan, pixels: int) -> int:
    """The plan's bytes on the card while it makes a picture."""
    return plan.weights + plans._BYTES_PER_PIXEL * pixels


def free_bytes(device: torch.device) -> int:
    """Of the card's memory; on the CPU that of a card on which everything fits."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else int(80 * GB)


def planned(plan: MemoryPlan | None, pixels: int) -> dict[str, Any]:
    """What the plan counts, for the row of a measured peak."""
    if plan is None:
        return {"plan": None}
    return {
        "plan": plan.name,
        "planned_resident_gb": round(plan.weights / GB, 2),
        "planned_peak_gb": round(planned_bytes(plan, pixels) / GB, 2),
    }

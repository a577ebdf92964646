"""`python -m app.cli doctor`: the device, and how the configured checkpoint would live on it.

Looks and prints; loads no weights and needs no Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.settings import load_settings
from models.errors import CheckpointError
from worker.libraries import quieten

if TYPE_CHECKING:
    import torch


def main() -> int:
    """Print one line a finding; 1 when the checkpoint would not fit."""
    quieten()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.loader import best_device, plan_for
    from models.flux.attention import choose_attention
    from models.flux.float8 import native

    device = best_device()
    checkpoint = CHECKPOINTS[load_settings().checkpoint]
    print(f"device: {_described(device)}")
    print(f"attention: {choose_attention(device)}")
    print(f"8-bit matrix units: {'yes' if native(device) else 'no, fast is not faster here'}")
    print(f"checkpoint: {checkpoint.name}, {checkpoint.base.licence}")
    try:
        print(f"memory plan: {plan_for(checkpoint, device)}")
    except CheckpointError as error:
        print(f"memory plan: none; {error}")
        return 1
    return 0


def _described(device: torch.device) -> str:
    import torch

    if device.type != "cuda":
        return "cpu; no CUDA device is seen, and only the demo checkpoint is of use without"
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"{properties.name}, capability {properties.major}.{properties.minor}, "
        f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free, torch {torch.__version__}"
    )

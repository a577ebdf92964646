"""Which attention kernel the device uses for FLUX, chosen at start and named in the log.

On Hopper cuDNN's kernel does FLUX's shape at about 630 TFLOP/s and flash-attention 2 at 330
(pytorch issue 142132): 22 ms a step at 1024x1024. Which one torch picks depends on its version and
on the cuDNN it finds. Knows no network.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

log = logging.getLogger(__name__)

_SHAPE = (1, 24, 4608, 128)
"""Heads, tokens and width of FLUX at 1024x1024 with its 512 text tokens."""

_HOPPER = (9, 0)
_preferences = ExitStack()
_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def choose_attention(device: torch.device) -> str:
    """Prefer the fast kernel for the rest of the process; the name of the one that is used."""
    if device.type != "cuda":
        return "cpu"
    hopper = torch.cuda.get_device_capability(device) >= _HOPPER
    if hopper:
        prefer_cudnn()
    chosen = attention_backend(device)
    if hopper and chosen != SDPBackend.CUDNN_ATTENTION:  # torch makes a new object each time
        log.warning(
            "attention runs on %s where cuDNN would be twice as fast: check that torch is 2.11 or "
            "later and that no other cuDNN stands in LD_LIBRARY_PATH",
            chosen.name,
        )
    return chosen.name


def prefer_cudnn() -> None:
    """For the rest of the process: where cuDNN's kernel can do a shape it is taken."""
    # Kept, since torch restores the old order when the context is collected.
    _preferences.enter_context(sdpa_kernel(_ORDER, set_priority=True))


def attention_backend(device: torch.device) -> SDPBackend:
    """What torch picks for FLUX's shape in bfloat16, as things are."""
    query = torch.empty(_SHAPE, device=device, dtype=torch.bfloat16)
    return SDPBackend(torch._fused_sdp_choice(query, query, query))

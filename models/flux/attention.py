"""Chooses the attention kernel for FLUX at start and logs its name.

On Hopper cuDNN's kernel runs FLUX's shape at about 630 TFLOP/s and flash-attention 2 at 330
(pytorch issue 142132), a difference of 22 ms a step at 1024x1024. torch's choice depends on its
version and on the installed cuDNN. Knows no network.
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
    """Prefer the fast kernel for the rest of the process. Returns the name of the kernel in use."""
    if device.type != "cuda":
        return "cpu"
    hopper = torch.cuda.get_device_capability(device) >= _HOPPER
    if hopper:
        prefer_cudnn()
    chosen = attention_backend(device)
    if (
        hopper and chosen != SDPBackend.CUDNN_ATTENTION
    ):  # != because torch returns a new object on each call
        log.warning(
            "attention runs on %s where cuDNN would be twice as fast: check that torch is 2.11 or "
            "later and that no other cuDNN stands in LD_LIBRARY_PATH",
            chosen.name,
        )
    return chosen.name


def prefer_cudnn() -> None:
    """Prefer cuDNN's kernel, for every shape it supports, for the rest of the process."""
    # The context stays open: torch restores the old order when it is garbage-collected.
    _preferences.enter_context(sdpa_kernel(_ORDER, set_priority=True))


def attention_backend(device: torch.device) -> SDPBackend:
    """The kernel that torch currently chooses for FLUX's shape in bfloat16."""
    query = torch.empty(_SHAPE, device=device, dtype=torch.bfloat16)
    return SDPBackend(torch._fused_sdp_choice(query, query, query))

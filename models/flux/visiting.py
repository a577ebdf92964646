"""Modules that live in the host's memory and visit the device for the time of their call.

For cards that cannot hold every weight. Weights never change, so nothing is copied back. Knows
nothing of what the modules compute.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def let_visit(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Keep the modules' tensors on the host; each forward call has them on `device`.

    The copies queue behind the device's other work and nobody waits for them.
    """
    for module in modules:
        _Visitor(module.to("cpu"), device)


class _Visitor:
    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._homes: list[tuple[Tensor, Tensor]] = []
        for tensor in (*module.parameters(), *module.buffers()):
            home = tensor.data.pin_memory() if device.type == "cuda" else tensor.data
            tensor.data = home
            self._homes.append((tensor, home))
        module.register_forward_pre_hook(self._arrive)
        module.register_forward_hook(self._leave, always_call=True)

    def _arrive(self, *_: Any) -> None:
        for tensor, home in self._homes:
            tensor.data = home.to(self._device, non_blocking=True)

    def _leave(self, *_: Any) -> None:
        for tensor, home in self._homes:
            tensor.data = home

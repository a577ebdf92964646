"""Modules that live in the host's memory and visit the device for the time of their call.

For cards that cannot hold every weight. Weights never change, so nothing is copied back. Knows
nothing of what the modules compute.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def stream_weights(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Keep the modules' tensors on the host; each forward call has them on `device`.

    The copies queue behind the device's other work and nobody waits for them.
    """
    for module in modules:
        visitor = _StreamedModule(module.to("cpu"), device)
        module.register_forward_pre_hook(visitor.arrive)
        module.register_forward_hook(visitor.leave, always_call=True)


class _StreamedModule:
    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._homes: list[tuple[nn.Module, str, Tensor]] = []
        for part in module.modules():
            for name, tensor in (
                *part.named_parameters(recurse=False),
                *part.named_buffers(recurse=False),
            ):
                home = tensor.detach()
                # Only pinned memory is copied without the host waiting for it.
                self._homes.append((part, name, home.pin_memory() if _is_cuda(device) else home))
        self.leave()

    def arrive(self, *_: Any) -> None:
        for part, name, home in self._homes:
            _put(part, name, home.to(self._device, non_blocking=True))

    def leave(self, *_: Any) -> None:
        for part, name, home in self._homes:
            _put(part, name, home)


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _put(part: nn.Module, name: str, tensor: Tensor) -> None:
    is_parameter = isinstance(getattr(part, name), nn.Parameter)
    setattr(part, name, nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor)

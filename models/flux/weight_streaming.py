"""Weight streaming: modules are stored in host memory and copied to the device for each call.

For cards that cannot hold all weights. Weights never change, so nothing is copied back. Knows
nothing of what the modules compute.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def stream_weights(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Store the modules' tensors on the host and copy them to `device` for each forward call.

    The copies are queued behind the device's other work, and the host does not wait for them.
    """
    for module in modules:
        streamed = _StreamedModule(module.to("cpu"), device)
        module.register_forward_pre_hook(streamed.load)
        module.register_forward_hook(streamed.release, always_call=True)


class _StreamedModule:
    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._host_tensors: list[tuple[nn.Module, str, Tensor]] = []
        for part in module.modules():
            for name, tensor in (
                *part.named_parameters(recurse=False),
                *part.named_buffers(recurse=False),
            ):
                host_tensor = tensor.detach()
                # Only pinned memory can be copied without blocking the host.
                if _is_cuda(device):
                    host_tensor = host_tensor.pin_memory()
                self._host_tensors.append((part, name, host_tensor))
        self.release()

    def load(self, *_: Any) -> None:
        for part, name, host_tensor in self._host_tensors:
            _put(part, name, host_tensor.to(self._device, non_blocking=True))

    def release(self, *_: Any) -> None:
        for part, name, host_tensor in self._host_tensors:
            _put(part, name, host_tensor)


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _put(part: nn.Module, name: str, tensor: Tensor) -> None:
    is_parameter = isinstance(getattr(part, name), nn.Parameter)
    setattr(part, name, nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor)

"""Limits how far the host runs ahead of the GPU: one step.

Without a limit the host would queue the kernels of a whole picture within a fraction of a second.
Progress would be reported too early, and a cancelled request would occupy the GPU to its end.
"""

from __future__ import annotations

import torch


class Pace:
    """step() returns when the device has finished the previous step. The current one is queued, so
    the device never idles. On the CPU step() does nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._previous: torch.cuda.Event | None = None

    def step(self) -> None:
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = event

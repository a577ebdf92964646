"""How far the host may run ahead of the GPU: one step.

Without a limit the host would have queued a whole picture within a fraction of a second: progress
would be told long before it is made, and a cancelled request would keep the GPU to its end.
"""

from __future__ import annotations

import torch


class Pace:
    """step() returns when the device has finished the step before; it still has this one to do,
    so it never idles. On the CPU everything is done when it returns.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._previous: torch.cuda.Event | None = None

    def step(self) -> None:
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        event.record(torch.cuda.current_stream(self._device))
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = event

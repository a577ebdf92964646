"""Measures the load and the step rate of a gpu worker's device.

The thread that uses the device reports to the meter; the lease thread reads it. Knows neither
torch nor Redis.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.core.queueing.devices import DeviceStatus

_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Device:
    """The measured device. memory: its (used, total) bytes; zeros for a CPU."""

    model: str
    name: str
    memory: Callable[[], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Reading:
    time: float
    busy_s: float
    steps: int


class Meter:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.device: Device | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._busy_s = 0.0
        self._steps = 0
        self._since: float | None = None
        self._readings = deque([_Reading(clock(), 0.0, 0)])

    @contextmanager
    def working(self) -> Iterator[None]:
        """A block during which the device works for one request."""
        with self._lock:
            self._since = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._busy_s += self._clock() - self._since
                self._since = None

    def step(self) -> None:
        """Count one finished step of a sampler."""
        self._steps += 1

    def status(self) -> DeviceStatus | None:
        """The current status; None before the device is known. Call it every few seconds."""
        if self.device is None:
            return None
        now = self._read()
        while len(self._readings) > 1 and now.time - self._readings[0].time > _WINDOW_S:
            self._readings.popleft()
        oldest = self._readings[0]
        self._readings.append(now)
        busy_s = now.busy_s - oldest.busy_s
        used, total = self.device.memory()
        return DeviceStatus(
            model=self.device.model,
            device=self.device.name,
            busy_s=now.busy_s,
            busy_ratio=min(1.0, busy_s / max(now.time - oldest.time, 1e-9)),
            steps_per_s=(now.steps - oldest.steps) / busy_s if busy_s else 0.0,
            memory_used=used,
            memory_total=total,
        )

    def _read(self) -> _Reading:
        with self._lock:
            now = self._clock()
            running = now - self._since if self._since is not None else 0.0
            return _Reading(now, self._busy_s + running, self._steps)

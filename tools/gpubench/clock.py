"""The time of a part: how long its steps should take, and whether the next one can still end.

Before a kind of step was measured, its time is the one expected on an H200, multiplied by how much
slower than expected the measured steps of the kind were. Needs no torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

EXPECTED: Mapping[str, float] = {
    "build": 8,
    "measure the floor": 6,
    "float32 reference": 8,
    "profile kernels": 3,
    "compile exact": 80,
    "compile fast": 65,
    "compile static": 65,
    "compile torchao": 75,
    "restart exact": 25,
    "small card 48": 25,
    "small card 24": 55,
    "smoke eager": 1,
    "smoke compiled": 15,
    "smoke streamed": 25,
    "picture A": 4.7,
    "picture A2": 5.3,
    "picture B": 4.3,
    "picture C": 4.2,
    "picture D": 3.2,
    "picture D-static": 3.1,
    "picture F": 3.1,
    "picture I": 2.4,
    "picture I2": 2.4,
    "picture J": 1.8,
}
"""Seconds on an H200, by step; a picture is 1024x1024 at 20 steps. Estimates, until measured."""

_MARGIN = 1.1


class OutOfTime(Exception):
    """A step was not started because it could not have ended in time."""


@dataclass(slots=True)
class Clock:
    """seconds: from now to the end of the part."""

    seconds: float
    _end: float = field(init=False)
    _measured: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def remaining(self) -> float:
        return self._end - time.monotonic()

    def expects(self, step: str) -> float:
        """Seconds that `step` should take."""
        if step in self._measured:
            return self._measured[step]
        kind = step.split()[0]
        alike = [name for name in self._measured if name.split()[0] == kind]
        slowness = 1.0
        if alike:
            measured = sum(self._measured[name] for name in alike)
            slowness = max(1.0, measured / sum(EXPECTED[name] for name in alike))
        return EXPECTED[step] * slowness

    def require(self, step: str, times: float = 1.0) -> float:
        """The seconds that `times` of `step` should take. Raises OutOfTime if they do not fit."""
        needed, left = times * self.expects(step), self.remaining()
        if not self.fits(needed):
            raise OutOfTime(f"{step}: {needed:.0f} s expected, {left:.0f} s left")
        return needed

    def fits(self, seconds: float) -> bool:
        """Whether something that should take `seconds` can end in time."""
        return seconds * _MARGIN <= self.remaining()

    def record(self, step: str, seconds: float) -> None:
        """From now on `step` is expected to take `seconds`."""
        self._measured[step] = seconds

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that is measured. Raises OutOfTime at the start if it cannot end in time."""
        self.require(name)
        started = time.monotonic()
        yield
        self.record(name, time.monotonic() - started)

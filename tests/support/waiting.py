"""Waits for events of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_S, _LONGEST_S, _GROWTH = 0.01, 0.1, 1.3
"""Seconds between two looks. A look may cost 10 ms of two processes, so a long wait has few."""


def until(condition: Callable[[], bool], what: str = "", timeout_s: float = 90) -> None:
    """Return soon after the condition holds; fail, with what was waited for, after timeout_s."""
    deadline, pause_s = time.monotonic() + timeout_s, _FIRST_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * _GROWTH, _LONGEST_S)

"""A time limit for native code in a work horse. It ends the whole process.

Python runs no signal handler while C code runs, and a JPEG of 200 kB can keep a decoder busy for
minutes. Use it only in a process that runs one job.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EXIT = 1


@contextmanager
def time_limit(seconds: float, on_timeout: Callable[[], None]) -> Iterator[None]:
    """If the block takes longer than `seconds`, another thread calls on_timeout() and then ends
    the process."""

    def end_process() -> None:
        try:
            on_timeout()
        finally:
            os._exit(_EXIT)

    timer = threading.Timer(seconds, end_process)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

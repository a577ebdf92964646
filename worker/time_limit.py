"""The end of a work horse that does not come back from a library: while C code runs no signal
handler does, and a JPEG of 200 kB can keep a decoder busy for minutes.

Only for a process that does one job: it ends the whole process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EXIT = 1


@contextmanager
def time_limit(seconds: float, last_words: Callable[[], None]) -> Iterator[None]:
    """A block that is not done after so many seconds: last_words() from another thread, then
    nothing of this process any more."""

    def leave() -> None:
        try:
            last_words()
        finally:
            os._exit(_EXIT)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

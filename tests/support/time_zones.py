"""Another time zone for this process, so that a time taken as local shows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

AHEAD = "XXX-13:45"
"""13:45 hours ahead of UTC, as the Chatham Islands are in summer."""

BEHIND = "XXX+11:30"
"""As far behind. At any moment, one of the two has another date than UTC."""


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """name: as POSIX writes a zone, which needs no files of zones."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    assert time.localtime().tm_gmtoff != 0
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

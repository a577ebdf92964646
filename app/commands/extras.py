"""Commands that need an optional extra: the one line that names the extra when it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_OURS = ("app", "models", "worker")


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turns the failed import of a library into a ValueError that names `extra`. Also a decorator.
    A module of ours that is missing is a bug, and stays a ModuleNotFoundError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in _OURS:
            raise
        raise ValueError(f"{library} is not installed; install the extra {extra}") from None

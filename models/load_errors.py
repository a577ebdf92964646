"""Owns what an error of loading a model means: one line, or a lost device.

Any library may raise any class while weights are read, moved and compiled. Loads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.errors import CheckpointError, DeviceLost, OutOfMemory

_LOST_DEVICE = frozenset({46, 214, 220, 714, 719, 721, 802, 999})
"""Codes of the CUDA runtime after which a new process may succeed: the device is unavailable,
uncorrectable ECC or NVLink errors, faults of the hardware stack or of a launch, a contained error,
a system that is not ready, an unknown error. Others (no kernel image for this card, an old driver)
come back at every start."""


@contextmanager
def one_line(subject: str) -> Iterator[None]:
    """Turn every error into a CheckpointError of one line, `subject: reason`.

    A CheckpointError passes unchanged. The loss of the device becomes DeviceLost, because a new
    process may succeed where this one cannot.
    """
    try:
        yield
    except (CheckpointError, DeviceLost):
        raise
    except Exception as error:  # the libraries have no common class of errors
        if isinstance(error, torch.AcceleratorError) and _code(error) in _LOST_DEVICE:
            raise DeviceLost(f"{subject}: {reason_of(error)}") from error
        raise CheckpointError(f"{subject}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """One line that says what happened and, if the text alone does not, which class it is."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, torch.OutOfMemoryError | OutOfMemory):
        return "the device has too little free memory; stop what else uses it, or take a larger one"
    if isinstance(error, MemoryError):
        return "the host has too little free memory"
    if line and isinstance(error, OSError | ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _code(error: torch.AcceleratorError) -> int | None:
    return getattr(error, "error_code", None)

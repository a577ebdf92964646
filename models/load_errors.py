"""Owns what an error of loading a model means: one line, or a lost device.

Any library may raise any class while weights are read, moved and compiled. Loads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.device_errors import DeviceFault, device_fault
from models.errors import CheckpointError, DeviceLost, OutOfMemory

_HARDWARE_TEXTS = (
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "hardware stack error",
    "unspecified launch failure",
    "CUDA-capable device(s) is/are busy or unavailable",
    "system not yet initialized",
    "unknown error",
)
"""Texts of errors after which a new process may succeed. Other lost devices (an illegal access, a
failed assertion) are faults of a kernel, which would come back at every start."""


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
        fault = device_fault(error)
        transient = any(text in str(error) for text in _HARDWARE_TEXTS)
        ended_by = DeviceLost if fault is DeviceFault.DEVICE_LOST and transient else CheckpointError
        raise ended_by(f"{subject}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """One line that says what happened and, if the text alone does not, which class it is."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: " in line:
        return "the host has too little free memory"
    if isinstance(error, OutOfMemory) or device_fault(error) is DeviceFault.OUT_OF_MEMORY:
        return "the device has too little free memory; stop what else uses it, or take a larger one"
    if line and isinstance(error, OSError | ValueError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__

"""Owns what happens when work does not fit into the device's memory.

The memory is freed for the next request, and the error says whether a smaller picture would fit.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from models.device_errors import DeviceFault, device_fault
from models.errors import OutOfMemory

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_FOR_ANY_SIZE = "This work costs the same memory for every size of the picture."


def within_memory(device: torch.device, work: str, run: Callable[[], Result]) -> Result:
    """The result of run(). Raises OutOfMemory when it does not fit, and frees what it had
    allocated."""
    try:
        return run()
    except RuntimeError as error:
        if device_fault(error) is not DeviceFault.OUT_OF_MEMORY:
            raise
        for_any_size = _FOR_ANY_SIZE in getattr(error, "__notes__", ())
        log.warning("out of memory for %s: %s", work, str(error).partition("\n")[0])
    # Outside the handler: the error's traceback holds the tensors.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemory(work, for_any_size=for_any_size)


@contextmanager
def for_any_size() -> Iterator[None]:
    """Marks errors of work whose memory does not depend on the size of the picture."""
    try:
        yield
    except RuntimeError as error:
        error.add_note(_FOR_ANY_SIZE)
        raise

"""Host memory of exact size that a CUDA device can copy from without blocking the host.

torch's own pinned memory is rounded up to a power of two: 41 GB for the 28 GB of the smallest plan.
Its allocator has an option not to round (pinned_max_round_threshold_mb), but torch 2.11 cannot.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.errors import CheckpointError

_PORTABLE = 1
"""cudaHostRegisterPortable: pinned for every device of the process."""


def host_buffer(size: int) -> Tensor:
    """`size` bytes of host memory, on pages of their own. Raises CheckpointError."""
    try:
        # A shared mapping (the default): a fork would copy the pinned pages of a private one.
        pages = mmap.mmap(-1, size)
    except OSError as error:
        raise CheckpointError(
            f"{size / 1e9:.2f} GB of host memory cannot be allocated for weights that are "
            f"streamed to the card: {error.strerror}; the host needs more RAM"
        ) from error
    return torch.frombuffer(pages, dtype=torch.uint8)


def pin(buffer: Tensor) -> None:
    """Lock the buffer's pages in RAM for copies to CUDA devices. Raises CheckpointError."""
    code = int(_cudart().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, _PORTABLE))
    if code != 0:
        raise CheckpointError(
            f"{buffer.nbytes / 1e9:.2f} GB of host memory cannot be pinned for weights that are "
            f"streamed to the card: CUDA error {code}; the host needs more RAM, or a higher limit "
            "of locked memory (ulimit -l)"
        )


def unpin(buffers: Sequence[Tensor], device: torch.device) -> None:
    """Undo `pin`. Required before the memory is freed: its addresses could not be pinned again."""
    torch.cuda.synchronize(device)  # no copy may be reading them
    for buffer in buffers:
        _cudart().cudaHostUnregister(buffer.data_ptr())


def release_freed_memory() -> None:
    """Return memory that was freed, but that the C library keeps, to the system: milliseconds."""
    ctypes.CDLL(None).malloc_trim(0)


def _cudart() -> Any:
    return torch.cuda.cudart()

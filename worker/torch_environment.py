"""Sets the environment variables that torch and Triton read when they start.

They concern the allocator of the device and the folder of compiled code. A variable that the
operator has set stays. Imports no torch, because torch must not have started.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

_ALLOCATOR = "PYTORCH_ALLOC_CONF"
_ALLOCATOR_NAMES = (_ALLOCATOR, "PYTORCH_CUDA_ALLOC_CONF")
"""torch 2.11 to 2.15 read both; the second one is the older name."""

_CACHES = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}
"""Variable -> its folder below that of compiled code. Without the second one, what Triton builds
for itself would be in the user's home, which a container does not keep."""

_ROOM = 64 * 2**20
"""Bytes that must be free for compiled code."""


def prepare(data_dir: Path) -> None:
    """Call it before anything imports torch."""
    # Pictures of many sizes fragment fixed segments, and the memory plans leave no room for that.
    # Pinned host memory is not affected, and a memory fraction is still enforced.
    if not any(name in os.environ for name in _ALLOCATOR_NAMES):
        os.environ[_ALLOCATOR] = "expandable_segments:True"
    if all(name in os.environ for name in _CACHES):
        return
    folder = _usable(data_dir / "compiled") or _temporary()
    if folder is None:
        log.error("no folder can hold compiled code: nothing is compiled, pictures take longer")
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
        return
    for name, below in _CACHES.items():
        os.environ.setdefault(name, str(folder / below))


def _usable(folder: Path) -> Path | None:
    """`folder`, created if it is missing; None if it cannot be written or its disk is full. torch
    cannot compile there, nor load what it has compiled, because it takes locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _ROOM)
    except OSError as error:
        log.warning("compiled code cannot be kept in %s: %s", folder, error.strerror)
        return None
    return folder


def _temporary() -> Path | None:
    """A folder for this process alone, so its next start compiles again."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="compiled-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _usable(folder)

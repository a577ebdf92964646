"""The memory of this machine: how much of it there is for us, and giving back what is free."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_LIBC = ctypes.CDLL(None)


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes that this process and its children can have together: the machine's memory, or less
    where a control group (a container, a unit of systemd) has less. root: where /proc and /sys are.
    """
    return min([_machine_memory(root), *_group_limits(root)])


def give_back_free_memory() -> None:
    """Return freed memory to the system, which the C library keeps for later. Takes milliseconds
    and lets other threads run; nothing happens where the library cannot do it."""
    trim = getattr(_LIBC, "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)


def _machine_memory(root: Path) -> int:
    lines = (root / "proc/meminfo").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("MemTotal:")]
    return int(kibibytes) * 1024


def _group_limits(root: Path) -> Iterator[int]:
    """Of the control groups of this process and of those around them, in both versions."""
    groups = root / "sys/fs/cgroup"
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folder, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for around in (group, *group.parents):
            file = folder / around / name
            if file.exists() and (text := file.read_text().strip()).isdecimal():  # or max
                yield int(text)

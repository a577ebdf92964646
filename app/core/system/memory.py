"""Memory of this machine: the limit of this process, and the return of freed memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_LIBC = ctypes.CDLL(None)


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes available to this process and its children: the machine's memory, or less if a control
    group (a container, a systemd unit) sets a lower limit. root: parent of /proc and /sys.
    """
    return min([_machine_memory(root), *_group_limits(root)])


def release_free_memory() -> None:
    """Return freed memory, which the C library caches, to the system. Takes milliseconds without
    the GIL. No effect if the library does not support it."""
    trim = getattr(_LIBC, "malloc_trim", None)  # missing in musl
    if trim is not None:
        trim(0)


def _machine_memory(root: Path) -> int:
    lines = (root / "proc/meminfo").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("MemTotal:")]
    return int(kibibytes) * 1024


def _group_limits(root: Path) -> Iterator[int]:
    """Limits of this process's control groups and their parents, in versions 1 and 2."""
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
        for level in (group, *group.parents):
            file = folder / level / name
            if file.exists() and (text := file.read_text().strip()).isdecimal():  # not "max"
                yield int(text)

"""How much memory there is, on machines and in control groups of both kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.system.memory import memory_limit, release_free_memory

GIB = 2**30


def machine(root: Path, groups: str, **limits: str) -> Path:
    files = {"proc/meminfo": f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\n"}
    files |= {"proc/self/cgroup": groups} | {
        f"sys/fs/cgroup/{path.replace('__', '/').replace('_of_', '.')}": text
        for path, text in limits.items()
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "gibibytes"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"memory_of_max": "max\n"}, 8),
        ("0::/\n", {"memory_of_max": f"{2 * GIB}\n"}, 2),
        ("0::/a/b\n", {"a__memory_of_max": f"{3 * GIB}\n", "a__b__memory_of_max": "max\n"}, 3),
        ("0::/a/b\n", {"a__memory_of_max": f"{3 * GIB}", "a__b__memory_of_max": f"{GIB}"}, 1),
        ("4:memory:/a\n0::/\n", {"memory__a__memory_of_limit_in_bytes": str(4 * GIB)}, 4),
        # In a container the path is the host's, and the file lies at the top.
        ("4:cpu,memory:/docker/x\n", {"memory__memory_of_limit_in_bytes": str(5 * GIB)}, 5),
        ("4:memory:/\n", {"memory__memory_of_limit_in_bytes": "9223372036854771712"}, 8),
    ],
)
def test_the_least_of_machine_and_control_groups(
    tmp_path: Path, groups: str, limits: dict[str, str], gibibytes: int
) -> None:
    assert memory_limit(machine(tmp_path, groups, **limits)) == gibibytes * GIB


def test_this_machine_has_some_and_takes_back() -> None:
    assert memory_limit() > 2**26
    release_free_memory()

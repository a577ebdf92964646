"""Checks the requirements of this machine before a build, and calls its tools.

A missing requirement is reported in one line with its remedy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_TOOLS = {
    "buildah": "apt-get install buildah",
    "debootstrap": "apt-get install debootstrap",
    "unshare": "apt-get install util-linux",
    "nsenter": "apt-get install util-linux",
    "mount": "apt-get install mount",
    "ip": "apt-get install iproute2",
}
_ROOM_GB = {"api": 2, "worker": 22}
"""Of disk while a target is built; the worker's layer is written four times on its way."""


def require(targets: list[str], work_dir: Path) -> None:
    """SystemExit with one line when this machine cannot do it."""
    if os.geteuid() != 0:
        raise SystemExit("test_images: needs root (chroot and mounts): sudo scripts/test_images")
    for tool, remedy in _TOOLS.items():
        if shutil.which(tool) is None:
            raise SystemExit(f"test_images: {tool} is missing: {remedy}")
    needed = max(_ROOM_GB[target] for target in targets)
    free = shutil.disk_usage(work_dir).free / 1e9
    has_layers = (work_dir / "images").exists()  # of the run before
    if free < needed and not has_layers:
        raise SystemExit(
            f"test_images: {free:.0f} GB are free at {work_dir} and {needed} are needed: "
            "make room, give another --work-dir, or test the api alone with --only-api"
        )


def run(*command: str | Path, quiet: bool = False) -> str:
    """Standard output of a command; SystemExit with its last words when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join((done.stdout + (done.stderr or "")).splitlines()[-20:])
        raise SystemExit(f"test_images: {command[0]} ended with {done.returncode}:\n{last}")
    return done.stdout

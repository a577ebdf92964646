"""An image store in its own folder, and the calls of buildah on it.

Knows how images are built and mounted, not their content.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.imagerig.machine import run

BASE = "localhost/flux-stand-in-base"
_SUITE = "bookworm"
# What Debian's own slim images leave out too.
_NOT_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale")
_LEFT_OVERS = ("var/cache/apt", "var/lib/apt/lists", "var/log")


@dataclass(frozen=True)
class Store:
    """mirror: of Debian, for debootstrap; pip_conf and ca: build secrets, when pip needs them."""

    folder: Path
    mirror: str | None
    pip_conf: Path | None
    ca: Path | None

    @cached_property
    def driver(self) -> str:
        """overlay where this file system can, which copies nothing; vfs anywhere."""
        with tempfile.TemporaryDirectory(dir=self.folder) as probe:
            places = [Path(probe) / name for name in ("lower", "upper", "work", "merged")]
            for place in places:
                place.mkdir()
            lower, upper, work, merged = places
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            mounted = subprocess.run(
                ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)],
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if mounted.returncode != 0:
                return "vfs"
            run("umount", merged)
        return "overlay"

    def buildah(self, *arguments: str | Path, quiet: bool = True) -> str:
        return run(
            "buildah",
            *("--root", self.folder / "images", "--runroot", self.folder / "run"),
            *("--storage-driver", self.driver, *arguments),
            quiet=quiet,
        ).strip()

    def make_base(self) -> None:
        """The stand-in for the pinned base: a minimal Debian of the same release, slim as it is."""
        if f"{BASE}:latest" in self.buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
            return
        container = self.buildah("from", "scratch")
        root = Path(self.buildah("mount", container))
        mirror = [self.mirror] if self.mirror else []
        run("debootstrap", "--variant=minbase", _SUITE, root, *mirror, quiet=True)
        for place in _NOT_SLIM:
            shutil.rmtree(root / place, ignore_errors=True)
        for place in _LEFT_OVERS:
            for entry in (root / place).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.buildah("commit", "--rm", container, BASE)

    def build(self, target: str, source: Path) -> str:
        """Name of the image built from this target of the Dockerfile."""
        name = f"localhost/flux-{target}"
        secrets = {"pip.conf": self.pip_conf, "ca.pem": self.ca}
        secret_flags = [f"id={name},src={path}" for name, path in secrets.items() if path]
        self.buildah(
            "bud",
            *("--isolation", "chroot", "--pull=never"),
            *("--format", "docker"),  # OCI's has no health check
            "--disable-compression=false",
            # A layer an instruction is free with overlay and a whole copy each with vfs.
            *(["--layers"] if self.driver == "overlay" else []),
            *("--build-arg", f"BASE={BASE}"),
            *(part for secret in secret_flags for part in ("--secret", secret)),
            *("--target", target, "--tag", name, source),
            quiet=False,
        )
        return name

    def inspect(self, image: str) -> dict[str, Any]:
        """config: what `docker inspect` calls Config; history: how the image says it was made."""
        return dict(json.loads(self.buildah("inspect", "--type", "image", image))["Docker"])

    def size(self, image: str) -> str:
        return self.buildah("images", "--format", "{{.Size}}", image)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The root file system of the image, in a container of its own."""
        container = self.buildah("from", "--pull-never", image)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)

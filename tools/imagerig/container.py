"""A process in the root file system of an image, as an engine would start it: the image's command,
user, environment and folder, the root read-only, /tmp in memory and noexec, no capabilities and no
new privileges, namespaces of its own for mounts, processes and the host's name. The network is the
caller's.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DEVICES = ("null", "zero", "full", "random", "urandom")
_UNSHARE = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child")
_SETPRIV = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


@dataclass
class Container:
    """config: the image's. mounts: path inside -> folder or file of this machine, bound there.

    overrides: environment on top of the image's. user: uid:gid.
    """

    name: str
    root: Path
    config: dict[str, Any]
    user: str
    mounts: dict[str, Path]
    log: Path
    overrides: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str] | None) -> None:
        """The image's entry point with this command, or with the image's own."""
        words = [*(self.config["Entrypoint"] or []), *(command or self.config["Cmd"])]
        script = "\n".join([*self._mounting(), f"exec {self._entering(words)}"])
        with self.log.open("a") as sink:
            self.process = subprocess.Popen(
                [*_UNSHARE, "sh", "-ec", script],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def ask(self, words: list[str], timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Another command beside the first one, as `docker exec` and health checks run them."""
        assert self.process is not None
        return subprocess.run(
            [
                *("nsenter", "--target", str(self.process.pid), "--mount", "--uts"),
                *("sh", "-ec", f"exec {self._entering(words)}"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, patience_s: float = 60) -> int:
        """Exit code after the image's stop signal; killed when that takes too long."""
        assert self.process is not None
        signum = getattr(signal, self.config.get("StopSignal") or "SIGTERM")
        # unshare passes nothing on; its child is the first process inside.
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            for child in children.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signum)
            return self.process.wait(patience_s)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            self.process.kill()
            return self.process.wait(patience_s)

    def wait_until_well(self, words: list[str], timeout_s: float) -> None:
        """Ask until the answer is 0. SystemExit with the log's end when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline:
            if self.ask(words).returncode == 0:
                return
            time.sleep(0.5)
        end = "\n".join(self.log.read_text().splitlines()[-20:])
        raise SystemExit(f"test_images: {self.name} did not become well:\n{end}")

    def _mounting(self) -> list[str]:
        root = shlex.quote(str(self.root))
        # What is mounted must have its place before the root becomes read-only.
        lines = [
            "mount --make-rprivate /",
            f"mount --bind {root} {root}",
            f"cd {root}",
            "mkdir -p proc dev tmp",
            "mount -t proc proc proc",
            "mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmp tmp",
            "mount -t tmpfs -o nosuid,mode=755 dev dev",
            "mkdir dev/shm",
            "mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 shm dev/shm",
            "ln -s /proc/self/fd dev/fd",
        ]
        for device in _DEVICES:
            lines += [f"touch dev/{device}", f"mount --bind /dev/{device} dev/{device}"]
        for inside, outside in self.mounts.items():
            place, source = shlex.quote(inside.lstrip("/")), shlex.quote(str(outside))
            make = f"mkdir -p {place}" if outside.is_dir() else f"touch {place}"
            lines += [f"mkdir -p $(dirname {place})", make, f"mount --bind {source} {place}"]
        return [*lines, f"mount -o remount,bind,ro {root}", f"hostname {self.name}", "cd /"]

    def _entering(self, words: list[str]) -> str:
        uid, gid = self.user.split(":")
        environment = [*(self.config["Env"] or [])]
        environment += [f"{name}={value}" for name, value in self.overrides.items()]
        folder = self.config.get("WorkingDir") or "/"
        return shlex.join(
            [
                *("chroot", str(self.root), "env", "-i", "-C", folder, *environment),
                *("setpriv", "--reuid", uid, "--regid", gid, *_SETPRIV, *words),
            ]
        )

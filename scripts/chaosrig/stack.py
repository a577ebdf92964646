"""Real processes of one server: Redis with its append-only file, api, cpu workers, gpu workers with
a stub of the model. Starts them, restarts what dies as a supervisor would, ends them all.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from app.core.connection import connect
from app.core.keys import KeyStore, mint
from app.core.queue import CPU, GPU, Jobs
from app.embedded_redis import redis_command, redis_url
from scripts.chaosrig.part import Part
from tests.support.servers import ROOT, free_port

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """How many workers, and how long the stub of the model takes for a picture."""

    gpu_workers: int = 2
    cpu_workers: int = 2
    picture_s: float = 0.4
    settings: dict[str, str] = field(default_factory=dict)


class Stack:
    """parts by name: redis, api, cpu-0, cpu-1, ..., gpu-0, gpu-1, ..."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._folder, self._shape = folder, shape
        self.redis_url = redis_url(folder)
        self.key = mint()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.parts: dict[str, Part] = {}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def part(self, name: str) -> Part:
        return self.parts[name]

    def workers(self, kind: str) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith(kind)]

    def redis(self) -> Redis:
        return connect(self.redis_url)

    def registered(self) -> int:
        """How many workers are ready for jobs."""
        with self.redis() as redis:
            jobs = Jobs(redis, 0)
            return jobs.workers(CPU) + jobs.workers(GPU)

    def append_only_size(self) -> int:
        return (self._folder / "redis" / "appendonly.aof").stat().st_size

    def log(self) -> str:
        """What all processes have written."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        self._add("redis", redis_command(self._folder))
        with self.redis() as redis:
            KeyStore(redis).add(self.key, "chaos")
        cli = [sys.executable, "-m", "app.cli"]
        self._add("api", [*cli, "api", "--port", str(self.port)])
        for number in range(self._shape.cpu_workers):
            self._add(f"cpu-{number}", [*cli, "worker", "cpu"])
        program = [sys.executable, str(ROOT / "scripts" / "chaosrig" / "stub_worker.py")]
        for number in range(self._shape.gpu_workers):
            self._add(f"gpu-{number}", [*program, str(self._shape.picture_s)])
        self._keeper.start()

    def end(self) -> None:
        self._over.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for part in reversed(self.parts.values()):
            part.end()

    def _add(self, name: str, command: Sequence[str]) -> None:
        settings = {
            "REDIS_URL": self.redis_url,
            "DATA_DIR": str(self._folder),
            "FETCH_ALLOW_HOSTS": "127.0.0.1",
            "RESUME_EVERY_S": "0.1",
            "OMP_NUM_THREADS": "1",
            "DRAIN_S": "0.5",
            **self._shape.settings,
        }
        self.parts[name] = Part(name, command, settings, self._folder / "log")

    def _keep(self) -> None:
        # A child dies with the thread that started it, so this one lives as long as the stack.
        while not self._over.wait(_POLL_S):
            for part in list(self.parts.values()):
                part.revive()


@contextmanager
def running_stack(folder: Path, shape: Shape) -> Iterator[Stack]:
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    stack = Stack(folder, shape)
    try:
        stack.start()
        yield stack
    finally:
        stack.end()

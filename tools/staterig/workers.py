"""Starts and stops worker processes by kind, so that requests wait in the intended queues."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from app.core.queueing.jobs import Jobs
from tests.support.servers import ROOT, environment
from tests.support.waiting import until

WAIT_S = 300.0


class Workers:
    """One process of each kind at most."""

    def __init__(self, redis: Redis, settings: dict[str, str]) -> None:
        self.jobs = Jobs(redis, 0)
        self._settings = settings
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *kinds: str, **settings: str) -> None:
        """And wait until they are ready for jobs."""
        for kind in kinds:
            command = [sys.executable, "-m", "app.cli", "worker", kind]
            self._running[kind] = subprocess.Popen(
                command, cwd=ROOT, env=environment(**self._settings, **settings)
            )
        until(lambda: all(map(self.jobs.workers, kinds)), f"workers: {kinds}", WAIT_S)

    def stop(self, *kinds: str, signum: int = signal.SIGTERM) -> None:
        for kind in kinds:
            process = self._running.pop(kind)
            process.send_signal(signum)
            process.wait(WAIT_S)

    def stop_all(self) -> None:
        self.stop(*list(self._running))


@contextmanager
def running_workers(redis: Redis, settings: dict[str, str]) -> Iterator[Workers]:
    """None at first; whatever runs in the end is stopped."""
    workers = Workers(redis, settings)
    try:
        yield workers
    finally:
        workers.stop_all()

"""Supervises one process of the stack: start, restart after its death, stop."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from app.core.system.processes import die_with_parent
from tests.support.servers import ROOT, environment

_RESTART_PAUSE_S = 1.0
_PATIENCE_S = 20.0


class Part:
    """One process of the stack, by name. It is replaced when it dies."""

    def __init__(self, name: str, command: Sequence[str], settings: dict[str, str], log: Path):
        self.name = name
        self._command, self._settings, self._log = list(command), settings, log
        self._died_at: float | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("a") as sink:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # SIGXFSZ stays ignored, as in Python: a full disk is an error and kills no process.
                restore_signals=False,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def revive(self) -> None:
        """Start it again, a little after it was first seen dead."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        self._died_at = self._died_at or now
        if now - self._died_at >= _RESTART_PAUSE_S:
            self._died_at = None
            self.start()

    def end(self) -> None:
        for signum in (signal.SIGCONT, signal.SIGTERM):
            if self.process.poll() is None:
                self.signal(signum)
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

"""A child process of the supervisor: start, liveness, stop."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.system.processes import die_with_parent


@dataclass(slots=True)
class Child:
    """restart_at: monotonic time at which to restart a dead child; 0 while none is scheduled."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    restart_at: float = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            # Ctrl-C signals a whole process group; the supervisor signals each child itself.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def stop(children: Sequence[Child], signum: int, timeout_s: float) -> bool:
    """Signal the live children and wait for them. True if some are still alive."""
    alive = [child.process for child in children if child.alive and child.process is not None]
    for process in alive:
        process.send_signal(signum)
    deadline = time.monotonic() + timeout_s
    for process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
    return any(child.alive for child in children)

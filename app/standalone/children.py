"""One child process of the supervisor: how it is started, watched and ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.system.processes import die_with_parent


@dataclass(slots=True)
class Child:
    """restart_at: monotonic time at which a child that died is started again; 0 while it lives."""

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
            # Ctrl-C in a terminal goes to a whole group; the children are told one by one.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def end(children: Sequence[Child], signum: int, patience_s: float) -> bool:
    """Signal the living and wait for them. True when some are still alive."""
    living = [child.process for child in children if child.alive and child.process is not None]
    for process in living:
        process.send_signal(signum)
    deadline = time.monotonic() + patience_s
    for process in living:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
    return any(child.alive for child in children)

"""Exit of a process that cannot start: one line on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXIT_CONFIG = 78
"""Exit code for a wrong configuration (EX_CONFIG of sysexits.h)."""


def refuse(line: str) -> NoReturn:
    """Print `line` to standard error and exit with EXIT_CONFIG."""
    sys.stderr.write(f"{line}\n")
    error = SystemExit(line)
    error.code = EXIT_CONFIG
    raise error


def exit_later(seconds: float, code: int) -> NoReturn:
    """Exit with `code` after a wait, or at once on SIGTERM.

    A process that only waits replaces this one, so memory and devices are free meanwhile.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    wait = f"import sys, time; time.sleep({seconds!r}); sys.exit({code!r})"
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", wait])  # noqa: S606  # no shell: fixed code with two numbers

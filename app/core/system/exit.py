"""Exit of a process that cannot start: one line on standard error, and an exit code."""

from __future__ import annotations

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

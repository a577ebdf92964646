"""The late exit: a process that waits in place of the one that ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.servers import ROOT


def started(seconds: float) -> subprocess.Popen[str]:
    program = f"""
import app.core.system.exit as exits
ballast = b"x" * 300_000_000
print("last words")
exits.exit_later({seconds}, 78)
"""
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_it_exits_with_the_code_after_the_wait_and_loses_no_output() -> None:
    began = time.monotonic()
    process = started(0.5)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 78
    assert output == "last words\n"
    assert time.monotonic() - began >= 0.5


def test_it_holds_no_memory_and_ends_on_a_signal() -> None:
    process = started(600)
    assert process.stdout is not None
    assert process.stdout.readline() == "last words\n"
    deadline = time.monotonic() + 60
    while resident(process.pid) > 50_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    process.stdout.close()


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024

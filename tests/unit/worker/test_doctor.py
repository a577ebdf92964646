"""`doctor` on a machine without a GPU."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("checkpoint", ["demo", "flux-dev-union-pro"])
def test_it_names_device_attention_and_memory_plan(checkpoint: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "app.cli", "doctor"],
        env={"CHECKPOINT": checkpoint, "PATH": "", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    lines = dict(line.split(": ", 1) for line in found.stdout.splitlines())
    assert list(lines) == ["device", "attention", "8-bit matrix units", "checkpoint", "memory plan"]
    assert lines["checkpoint"].startswith(checkpoint)
    assert found.stderr == ""

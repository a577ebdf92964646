"""The real weights of BlazePose, downloaded once by the product's own command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import constants

from models.checkpoints.annotators.blazepose import BLAZEPOSE
from models.checkpoints.weights import find
from tests.support.servers import ROOT

_HOME = ROOT / ".weights_cache"
"""HF_HOME of these weights: apart from the machine's own, which other tests read."""


def blazepose_home() -> Path:
    """HF_HOME with the weights. Skips the test where pip reaches no package index."""
    _HOME.mkdir(exist_ok=True)
    with FileLock(_HOME / "lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(_HOME))
        if find(BLAZEPOSE.part) is None:
            command = [sys.executable, "-m", "app.cli", "models", "download", BLAZEPOSE.name]
            environment = {**os.environ, "HF_HOME": str(_HOME)}
            result = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            if "pip cannot download it" in result.stderr:
                pytest.skip(f"no BlazePose without a package index: {result.stderr.strip()}")
            assert result.returncode == 0, result.stderr
    return _HOME

"""The demo checkpoint, loaded once for all tests of the mathematics."""

from __future__ import annotations

import pytest
import torch

from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    folder = tmp_path_factory.mktemp("weights")
    return load(CHECKPOINTS["demo"], folder, torch.device("cpu"))

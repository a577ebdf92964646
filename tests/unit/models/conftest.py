"""A checkpoint of random weights, made and loaded once for all tests of the mathematics."""

from __future__ import annotations

import pytest
import torch

from models.checkpoints import Checkpoint, LoadedCheckpoint, load
from scripts import stand_in as random_weights


@pytest.fixture(scope="session")
def stand_in_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return random_weights.stand_in(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def stand_in(stand_in_checkpoint: Checkpoint) -> LoadedCheckpoint:
    return load(stand_in_checkpoint, torch.device("cpu"))

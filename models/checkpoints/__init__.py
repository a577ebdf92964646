"""The servable models by name, each described in a file of its own, all loaded by one loader."""

from __future__ import annotations

from models.checkpoints import demo, flux_dev_union_pro
from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.loader import LoadedCheckpoint, load

CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint for checkpoint in (demo.CHECKPOINT, flux_dev_union_pro.CHECKPOINT)
}

__all__ = ["CHECKPOINTS", "Checkpoint", "LoadedCheckpoint", "load"]

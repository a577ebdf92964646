"""The registry of servable models. One file describes each model, and one loader loads them all."""

from __future__ import annotations

from models.checkpoints import demo, flux_dev_union_pro
from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.loader import LoadedCheckpoint, load

CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint for checkpoint in (demo.CHECKPOINT, flux_dev_union_pro.CHECKPOINT)
}

__all__ = ["CHECKPOINTS", "Checkpoint", "LoadedCheckpoint", "load"]

"""The registry of servable models. One file describes each model, and one loader loads them all."""

from __future__ import annotations

from models.checkpoints import demo, flux_dev_union_pro, flux_dev_union_pro_2
from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.loader import LoadedCheckpoint, load

CHECKPOINTS: dict[str, Checkpoint] = {
    module.CHECKPOINT.name: module.CHECKPOINT
    for module in (demo, flux_dev_union_pro, flux_dev_union_pro_2)
}

__all__ = ["CHECKPOINTS", "Checkpoint", "LoadedCheckpoint", "load"]

"""Loading and warming up the checkpoint of a gpu worker, before it takes its first job."""

from __future__ import annotations

import logging
import os
import time

from PIL import Image

from app.core.settings import Settings
from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.checkpoints.loader import best_device
from models.pipeline import generate
from models.spec import CONTROL_NAMES, GenerationSpec

log = logging.getLogger(__name__)

_WARM_UP_SIZES = {"cpu": (256,), "cuda": (256, 512, 768, 1024)}
"""Sides of the squares made before the first request. The compiled graphs serve every size; the
attention kernels and the convolutions plan anew for each, so the usual ones are planned here."""


def load_checkpoint(settings: Settings) -> LoadedCheckpoint:
    """The checkpoint the settings name, loaded, compiled where there is a GPU, and warmed up.

    Raises CheckpointError when its weights cannot be loaded.
    """
    started = time.perf_counter()
    # Kept beside the data: the next start finds the compiled graphs there.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.data_dir / "compiled"))
    loaded = load(CHECKPOINTS[settings.checkpoint], best_device())
    read = time.perf_counter()
    _warm_up(loaded, settings.profile)
    log.info(
        "checkpoint %s on %s in %s: read in %.1f s, warm after %.1f s",
        settings.checkpoint,
        loaded.device,
        loaded.dtype,
        read - started,
        time.perf_counter() - read,
    )
    return loaded


def _warm_up(loaded: LoadedCheckpoint, profile: str) -> None:
    """The first call of every kernel is slow; nobody's request should pay for it."""
    sides = _WARM_UP_SIZES[loaded.device.type]
    for side in sides:
        picture = Image.new("RGB", (side, side), "grey")
        for control in CONTROL_NAMES if side == sides[0] else ("canny",):
            # One evaluation with the ControlNet and one without.
            spec = GenerationSpec(
                prompt="warm-up",
                control=control,
                width=side,
                height=side,
                stop=0.25,
                steps=2,
                profile=profile,
            )
            generate(loaded, spec, picture, lambda _step, _steps: None)

"""Loading and warming up the checkpoint of a gpu worker, before it takes its first job."""

from __future__ import annotations

import logging
import time

from PIL import Image

from app.core.settings import Settings
from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.checkpoints.loader import best_device
from models.pipeline import generate
from models.spec import CONTROL_NAMES, GenerationSpec

log = logging.getLogger(__name__)

_WARM_UP_SIZE = 256


def load_checkpoint(settings: Settings) -> LoadedCheckpoint:
    """The checkpoint the settings name, loaded and warmed up with one picture a control type.

    Raises CheckpointError when its weights cannot be loaded.
    """
    started = time.perf_counter()
    loaded = load(CHECKPOINTS[settings.checkpoint], settings.data_dir, best_device())
    _warm_up(loaded)
    log.info(
        "checkpoint %s on %s in %s, ready after %.1f s",
        settings.checkpoint,
        loaded.device,
        loaded.dtype,
        time.perf_counter() - started,
    )
    return loaded


def _warm_up(loaded: LoadedCheckpoint) -> None:
    """The first call of every kernel is slow; nobody's request should pay for it."""
    picture = Image.new("RGB", (_WARM_UP_SIZE, _WARM_UP_SIZE), "grey")
    for control in CONTROL_NAMES:
        spec = GenerationSpec(
            prompt="warm-up",
            control=control,
            width=_WARM_UP_SIZE,
            height=_WARM_UP_SIZE,
            stop=1.0,
            steps=1,
        )
        generate(loaded, spec, picture, lambda _step, _steps: None)

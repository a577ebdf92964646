"""Loads and warms up the checkpoint of a gpu worker, before the worker takes its first job."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from app.core.settings import Settings
from app.core.system.memory import memory_limit
from models.checkpoints import CHECKPOINTS, Checkpoint, LoadedCheckpoint, load
from models.checkpoints.annotators import with_annotators
from models.checkpoints.loader import best_device, plan_for
from models.errors import CheckpointError
from models.flux.compilation import compile_stats
from models.load_errors import one_line
from models.pipeline import generate
from models.spec import GenerationSpec
from worker.meter import Device

log = logging.getLogger(__name__)

_WARM_UP_SIZES = {"cpu": (256,), "cuda": (256, 512, 768, 1024)}
"""Sides in pixels of the square pictures of the warm-up. The compiled graphs serve every size, but
attention kernels and convolutions are planned per size, so the usual sizes are planned here."""

_WARM_UP_CONTROLS = ("canny", "depth", "pose", "softedge")
"""Every detector, and a map without one. Those that the checkpoint does not serve are left out."""


def load_checkpoint(settings: Settings) -> LoadedCheckpoint:
    """The checkpoint that the settings name: loaded, compiled on a GPU, and warmed up.

    Raises CheckpointError for every error, for example when its weights cannot be loaded or there
    is no GPU, and DeviceLost when the device fails.
    """
    with one_line(f"checkpoint {settings.checkpoint} cannot be served"):
        return _loaded_and_warm(settings)


def _loaded_and_warm(settings: Settings) -> LoadedCheckpoint:
    device = best_device()
    _check_device(settings.checkpoint, device)
    started = time.perf_counter()
    checkpoint = served_checkpoint(settings)
    plan = plan_for(checkpoint, device, memory_limit(), settings.profile, settings.loras)
    loaded = load(checkpoint, device, plan=plan, loras=settings.loras)
    loaded_at = time.perf_counter()
    with one_line(f"checkpoint {settings.checkpoint} failed its warm-up"):
        for profile in _served_profiles(loaded, settings):
            _warm_up(loaded, profile)
            if settings.loras_folder is not None:
                _warm_up_with_lora(loaded, profile)
    log.info(
        "checkpoint %s on %s in %s: read in %.1f s, warm after %.1f s",
        settings.checkpoint,
        loaded.device,
        loaded.dtype,
        loaded_at - started,
        time.perf_counter() - loaded_at,
    )
    _log_compilation()
    return loaded


def served_checkpoint(settings: Settings) -> Checkpoint:
    """The configured checkpoint with the configured annotators."""
    checkpoint = CHECKPOINTS[settings.checkpoint]
    return with_annotators(checkpoint, settings.depth_annotator, settings.pose_annotator)


def metered_device(loaded: LoadedCheckpoint) -> Device:
    """The meter's description of a checkpoint's device."""
    device = loaded.device
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else device.type
    return Device(
        loaded.checkpoint.name, name, partial(_memory, device) if cuda else lambda: (0, 0)
    )


def _memory(device: torch.device) -> tuple[int, int]:
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:  # the device is lost; the main thread handles that
        log.debug("the device's memory could not be read", exc_info=True)
        return 0, 0
    return total - free, total


def _check_device(name: str, device: torch.device) -> None:
    """Raises CheckpointError for a large model on a CPU, where a picture would take hours."""
    if device.type != "cuda" and CHECKPOINTS[name].architecture is not None:
        raise CheckpointError(
            f"checkpoint {name} needs a GPU and no CUDA device is seen: see nvidia-smi, give a "
            "container its devices (--gpus all), or serve CHECKPOINT=demo; "
            "python -m app.cli doctor tells more"
        )


def _served_profiles(loaded: LoadedCheckpoint, settings: Settings) -> list[str]:
    """PROFILE, or the profile that stands for it, and then those of WARM_PROFILES that the memory
    plan serves."""
    profiles = [loaded.networks.profile(settings.profile)]
    for profile in settings.warm_profiles:
        served = loaded.networks.profile(profile)
        if served != profile:
            log.warning(
                "WARM_PROFILES: %s is not warmed, the memory plan serves it as %s", profile, served
            )
        elif profile not in profiles:
            profiles.append(profile)
    return profiles


def _log_compilation() -> None:
    stats = compile_stats()
    if stats.graphs:
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])  # torch sets it if nothing else did
        log.info(
            "compiled %d graphs in %.1f s, %d from the cache and %d new; %s holds %.1f MB",
            stats.graphs,
            stats.seconds,
            stats.cache_hits,
            stats.cache_misses,
            folder,
            _size(folder) / 1e6,
        )


def _size(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return sum(file.stat().st_size for file in files if file.is_file())


def _warm_up(loaded: LoadedCheckpoint, profile: str) -> None:
    """Call every kernel once: the first call is slow, and no request should pay for it."""
    sides = _WARM_UP_SIZES[loaded.device.type]
    controls = [name for name in _WARM_UP_CONTROLS if name in loaded.checkpoint.modes]
    for side in sides:
        for control in controls if side == sides[0] else ("canny",):
            _generate(loaded, _warm_up_spec(profile, control, side))


def _warm_up_with_lora(loaded: LoadedCheckpoint, profile: str) -> None:
    """Compile the blocks' other graph, which serves every size and every rank."""
    layers = loaded.networks.of(profile).layers
    assert layers is not None
    spec = _warm_up_spec(profile, "canny", _WARM_UP_SIZES[loaded.device.type][0])
    _generate(loaded, replace(spec, loras=(loaded.adapters.blank(layers),)))


def _warm_up_spec(profile: str, control: str, side: int) -> GenerationSpec:
    """One evaluation with the ControlNet and one without."""
    return GenerationSpec(
        prompt="warm-up",
        control=control,
        width=side,
        height=side,
        stop=0.25,
        steps=2,
        profile=profile,
    )


def _generate(loaded: LoadedCheckpoint, spec: GenerationSpec) -> None:
    picture = Image.new("RGB", (spec.width, spec.height), "grey")
    generate(
        loaded,
        spec,
        picture,
        lambda _step, _steps: None,
        on_prediction=loaded.preview,  # the first one fits its matrix
    )

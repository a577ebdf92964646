"""From a Checkpoint to modules on a device: the same code for the demo and for the real weights.

Decides dtype and device; knows neither settings nor who serves the model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline
from huggingface_hub import snapshot_download

from models.cache import TensorCache
from models.checkpoints.checkpoint import Checkpoint, Part
from models.controls import Annotators
from models.errors import CheckpointError

_CACHE_BYTES = 256 * 1024**2  # some 60 prompts of FLUX, or as many control maps at 2048x2048


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint ready to generate. The modules are in eval mode and never change, which is why
    what their encoders returned can be kept beside them.
    """

    checkpoint: Checkpoint
    pipe: FluxControlNetPipeline
    annotators: Annotators
    device: torch.device
    dtype: torch.dtype
    prompts: TensorCache
    control_latents: TensorCache


def best_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def load(checkpoint: Checkpoint, data_dir: Path, device: torch.device) -> LoadedCheckpoint:
    """Load every part: bfloat16 on CUDA, float32 on the CPU.

    A checkpoint that is made locally is made below data_dir on the first call. Raises
    CheckpointError when weights are missing, gated or damaged.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    home = data_dir / "checkpoints" / checkpoint.name
    if checkpoint.build is not None and not home.exists():
        _build(checkpoint, home)
    try:
        controlnet = FluxControlNetModel.from_pretrained(
            _folder(checkpoint.controlnet, home), dtype=dtype, use_safetensors=True
        )
        pipe = FluxControlNetPipeline.from_pretrained(
            _folder(checkpoint.base, home),
            controlnet=controlnet,
            dtype=dtype,
            use_safetensors=True,
        )
        annotators = checkpoint.load_annotators(_folder(checkpoint.annotators, home))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} cannot be loaded: {error}") from error
    pipe.to(device)
    annotators.to(device)
    pipe.set_progress_bar_config(disable=True)
    caches = TensorCache(_CACHE_BYTES), TensorCache(_CACHE_BYTES)
    return LoadedCheckpoint(checkpoint, pipe, annotators, device, dtype, *caches)


def _build(checkpoint: Checkpoint, home: Path) -> None:
    """Make a local checkpoint beside its place and move it there, so that half is never seen."""
    assert checkpoint.build is not None
    draft = home.with_name(f".{home.name}-{os.getpid()}")
    checkpoint.build(draft)
    try:
        draft.rename(home)
    except OSError:
        if not home.exists():  # else another process was first, and its copy is as good
            raise


def _folder(part: Part, home: Path) -> Path:
    """The local folder of a part, downloaded first when it is not there."""
    if part.repository is None:
        return home / part.folder
    folder = Path(
        snapshot_download(part.repository, revision=part.revision, allow_patterns=[*part.files])
    )
    for name, size in part.sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise CheckpointError(
                f"{part.repository}: {name} has {found} bytes where {size} are expected"
            )
    return folder

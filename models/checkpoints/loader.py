"""From a Checkpoint to modules on a device: the same code for the demo and for the real weights.

Decides dtype and memory plan; knows neither settings nor who serves the model.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxTransformer2DModel
from safetensors import SafetensorError
from transformers import T5EncoderModel

from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints.checkpoint import Checkpoint, Part
from models.checkpoints.revisions import revision_of
from models.checkpoints.weights import fetch
from models.control_maps import ControlMaps
from models.controls import Annotators
from models.errors import CheckpointError
from models.flux.attention import choose_attention
from models.flux.profiles import NetworkPair, Networks
from models.flux.visiting import let_visit
from models.memory import HOST_PLAN, MemoryPlan, choose_plan
from models.text import TextEncoders

log = logging.getLogger(__name__)

_CACHE_BYTES = 256 * 1024**2  # some 60 prompts of FLUX, or as many control maps at 2048x2048


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint ready to generate. The modules are in eval mode and never change, which is why
    what their encoders returned can be kept beside them.
    """

    checkpoint: Checkpoint
    pipe: FluxControlNetPipeline
    networks: Networks
    text: TextEncoders
    autoencoder: Autoencoder
    annotators: Annotators
    control_maps: ControlMaps
    device: torch.device
    dtype: torch.dtype
    max_pixels: int | None
    """Of the largest picture that the device's memory holds; None where nothing is known."""
    weights: Mapping[str, str]
    """base, controlnet, annotators -> exactly which weights these are."""


def best_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def plan_for(checkpoint: Checkpoint, device: torch.device) -> MemoryPlan:
    """Where the weights will live. Raises CheckpointError when the card is too small for any plan.

    A checkpoint that states no footprint is small enough for every card.
    """
    if device.type != "cuda" or checkpoint.footprint is None:
        return HOST_PLAN
    free, _ = torch.cuda.mem_get_info(device)
    plan = choose_plan(free, checkpoint.footprint)
    if plan is None:
        raise CheckpointError(
            f"checkpoint {checkpoint.name}: {free / 1e9:.1f} GB are free on {device}, "
            "too few for any memory plan"
        )
    return plan


def load(
    checkpoint: Checkpoint,
    data_dir: Path,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> LoadedCheckpoint:
    """Load every part: bfloat16 on CUDA, float32 on the CPU, unless `dtype` says otherwise.

    A checkpoint that is made locally is made below data_dir on the first call. Raises
    CheckpointError when weights are missing, gated or damaged.
    """
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    home = data_dir / "checkpoints" / checkpoint.name
    if checkpoint.build is not None and not home.exists():
        _build(checkpoint, home)
    plan = plan_for(checkpoint, device)
    log.info("memory plan %s; attention on %s", plan, choose_attention(device))
    try:
        pipe = _load_pipe(checkpoint, home, device, dtype, plan)
        annotators = checkpoint.load_annotators(_folder(checkpoint.annotators, home))
        weights = _revisions(checkpoint, home)
    except (OSError, ValueError, SafetensorError) as error:
        said = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"checkpoint {checkpoint.name} cannot be loaded: {said}") from error
    annotators.to(device)
    networks = Networks(
        NetworkPair(pipe.transformer, pipe.controlnet),
        device,
        plan,
        compiled=device.type == "cuda",
    )
    if plan.float8:
        pipe.transformer = pipe.controlnet = None  # their copies serve, and need the room
    return LoadedCheckpoint(
        checkpoint,
        pipe,
        networks,
        TextEncoders(pipe, device, TensorCache(_CACHE_BYTES)),
        Autoencoder(pipe.vae, TensorCache(_CACHE_BYTES), plan.tile_above),
        annotators,
        ControlMaps(annotators, TensorCache(_CACHE_BYTES)),
        device,
        dtype,
        plan.max_pixels,
        weights,
    )


def _load_pipe(
    checkpoint: Checkpoint, home: Path, device: torch.device, dtype: torch.dtype, plan: MemoryPlan
) -> FluxControlNetPipeline:
    """The pipeline with its large parts read straight to where they will live."""
    base, controlnet = _folder(checkpoint.base, home), _folder(checkpoint.controlnet, home)

    def large(model_class: Any, folder: Path, waits: bool, **options: Any) -> Any:
        place = torch.device("cpu") if waits else device
        options |= {"dtype": dtype, "use_safetensors": True, "device_map": {"": place}}
        return model_class.from_pretrained(folder, **options)

    t5 = large(T5EncoderModel, base, plan.encoders_wait, subfolder="text_encoder_2")
    pipe = FluxControlNetPipeline.from_pretrained(
        base,
        controlnet=large(FluxControlNetModel, controlnet, plan.float8),
        transformer=large(FluxTransformer2DModel, base, plan.float8, subfolder="transformer"),
        text_encoder_2=t5,
        dtype=dtype,
        use_safetensors=True,
    )
    pipe.text_encoder.to(device)
    pipe.vae.to(device)
    if device.type == "cuda":
        pipe.vae.to(memory_format=torch.channels_last)  # the layout of its convolutions there
    if plan.encoders_wait:
        let_visit(t5.encoder.block, device)
        t5.shared.to(device)
        t5.encoder.final_layer_norm.to(device)
    return pipe


def _build(checkpoint: Checkpoint, home: Path) -> None:
    """Make a local checkpoint beside its place and move it there, so that half is never seen."""
    assert checkpoint.build is not None
    draft = home.with_name(f".{home.name}-{os.getpid()}")
    try:
        checkpoint.build(draft)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(
            f"checkpoint {checkpoint.name} cannot be made in {home.parent}: {error}; make room, or "
            "set DATA_DIR to a folder that can be written"
        ) from error
    try:
        draft.rename(home)
    except OSError:
        if not home.exists():  # else another process was first, and its copy is as good
            raise


def _revisions(checkpoint: Checkpoint, home: Path) -> dict[str, str]:
    parts = {
        "base": checkpoint.base,
        "controlnet": checkpoint.controlnet,
        "annotators": checkpoint.annotators,
    }
    return {name: revision_of(part, _folder(part, home)) for name, part in parts.items()}


def _folder(part: Part, home: Path) -> Path:
    """The local folder of a part, downloaded first when it is not there."""
    if part.repository is None:
        return home / part.folder
    return fetch(part)

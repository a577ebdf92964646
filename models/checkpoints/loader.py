"""Loads a Checkpoint into modules on a device, the demo and the real weights alike.

Owns the choice of dtype and memory plan. Knows neither settings nor workers.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from models.annotators.people import PeopleFallback
from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints.checkpoint import Checkpoint, Part
from models.checkpoints.footprint import footprint
from models.checkpoints.revisions import revision_of
from models.checkpoints.validation.pipeline_check import check_pipeline
from models.checkpoints.validation.tokenizer_check import load_tokenizers
from models.checkpoints.weights import fetch, find
from models.control_maps import ControlMaps
from models.controls import Annotators
from models.errors import CheckpointError
from models.flux.attention import choose_attention
from models.flux.compilation import compilation_enabled
from models.flux.float8 import native
from models.flux.profiles import NetworkPair, Networks
from models.flux.weight_streaming import WeightStream
from models.load_errors import one_line
from models.loras.adapters import Adapters
from models.loras.host_cache import LoraCache
from models.loras.layers import AdaptableLayers
from models.loras.lora_options import NO_LORAS, LoraOptions
from models.memory.plans import HOST_PLAN, Machine, MemoryPlan, choose_plan
from models.preview import Preview
from models.text import TextEncoders

log = logging.getLogger(__name__)

SUMS_FILE = "SHA256SUMS"
"""The output of sha256sum for the files of a verified folder."""

_CACHE_BYTES = 256 * 1024**2  # some 60 prompts of FLUX, or as many control maps at 2048x2048


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint that is ready to generate. Its modules are in eval mode and never change, so the
    results of its encoders can be cached.
    """

    checkpoint: Checkpoint
    pipe: FluxControlNetPipeline
    networks: Networks
    text: TextEncoders
    autoencoder: Autoencoder
    preview: Preview
    annotators: Annotators
    control_maps: ControlMaps
    device: torch.device
    dtype: torch.dtype
    max_pixels: int | None
    """Pixels of the largest picture that fits into the device's memory; None if unknown."""
    weights: Mapping[str, str]
    """base, controlnet, annotators -> the exact revision of these weights."""
    adapters: Adapters


def best_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def plan_for(
    checkpoint: Checkpoint,
    device: torch.device,
    ram: int,
    profile: str,
    loras: LoraOptions = NO_LORAS,
) -> MemoryPlan:
    """The memory plan of a checkpoint for requests of `profile`. ram: bytes for all processes. Room
    is kept for `loras` on the card and on the host.

    Raises CheckpointError when the card and the RAM are too small for every plan.
    """
    needs = footprint(checkpoint)
    if device.type != "cuda" or needs is None:
        return HOST_PLAN
    free, _ = torch.cuda.mem_get_info(device)
    try:
        machine = Machine(free, ram, native(device), compilation_enabled())
        return choose_plan(needs, machine, profile, loras)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} on {device}: {error}") from None


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    plan: MemoryPlan = HOST_PLAN,
    loras: LoraOptions = NO_LORAS,
) -> LoadedCheckpoint:
    """Load every part: bfloat16 on CUDA, float32 on the CPU, unless `dtype` says otherwise. LoRAs
    are not loaded before a request names them.

    Raises CheckpointError for every error, for example when weights are missing, gated or damaged,
    and DeviceLost when the device fails.
    """
    with one_line(f"checkpoint {checkpoint.name} cannot be loaded"):
        return _load(checkpoint, device, dtype, plan, loras)


def _load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None,
    plan: MemoryPlan,
    loras: LoraOptions,
) -> LoadedCheckpoint:
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    weight_stream = WeightStream(device)
    log.info("memory plan %s; attention on %s", plan, choose_attention(device))
    if checkpoint.verified is not None:
        _verify(checkpoint.name, checkpoint.verified)
    # The small parts first: a fault of theirs shows before 40 GB are read.
    annotators = _load_annotators(checkpoint)
    pipe = _load_pipe(checkpoint, device, dtype, plan, weight_stream)
    weights = _revisions(checkpoint)
    annotators.to(device)
    networks = Networks(
        NetworkPair(pipe.transformer, pipe.controlnet),
        device,
        plan,
        compiled=device.type == "cuda",
        weight_stream=weight_stream,
    )
    if not plan.exact:
        pipe.transformer = pipe.controlnet = (
            None  # their 8-bit copies replace them and need the memory
        )
    autoencoder = Autoencoder(pipe.vae, TensorCache(_CACHE_BYTES), plan.tile_above)
    return LoadedCheckpoint(
        checkpoint,
        pipe,
        networks,
        TextEncoders(pipe, device, TensorCache(_CACHE_BYTES), checkpoint.text_tokens),
        autoencoder,
        Preview(autoencoder),
        annotators,
        ControlMaps(annotators, TensorCache(_CACHE_BYTES)),
        device,
        dtype,
        plan.max_pixels,
        weights,
        adapters_for(pipe.text_encoder, device, dtype, loras),
    )


def adapters_for(
    text_encoder: CLIPTextModel, device: torch.device, dtype: torch.dtype, loras: LoraOptions
) -> Adapters:
    cache = LoraCache(loras.folder, loras.cache_bytes)
    return Adapters(cache, AdaptableLayers(text_encoder), device, dtype, loras.max_rank)


def _load_pipe(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    plan: MemoryPlan,
    weight_stream: WeightStream,
) -> FluxControlNetPipeline:
    """The pipeline, with its large parts loaded directly onto their device."""
    base, controlnet = _folder(checkpoint.base), _folder(checkpoint.controlnet)
    check_pipeline(base, controlnet, dtype)
    tokenizers = load_tokenizers(base)

    networks_on_host = not plan.exact  # until they are converted to 8 bits

    def load_large(model_class: Any, folder: Path, on_host: bool, **options: Any) -> Any:
        place = torch.device("cpu") if on_host else device
        options |= {"dtype": dtype, "use_safetensors": True, "device_map": {"": place}}
        return model_class.from_pretrained(folder, **options)

    t5 = load_large(T5EncoderModel, base, plan.encoders_streamed, subfolder="text_encoder_2")
    pipe = FluxControlNetPipeline.from_pretrained(
        base,
        controlnet=load_large(FluxControlNetModel, controlnet, networks_on_host),
        transformer=load_large(
            FluxTransformer2DModel, base, networks_on_host, subfolder="transformer"
        ),
        text_encoder_2=t5,
        **tokenizers,
        dtype=dtype,
        use_safetensors=True,
    )
    pipe.text_encoder.to(device)
    pipe.vae.to(device)
    if device.type == "cuda":
        pipe.vae.to(memory_format=torch.channels_last)  # the fastest layout of its convolutions
    if plan.encoders_streamed:
        stream_encoder(t5, device, weight_stream)
    return pipe


def stream_encoder(t5: T5EncoderModel, device: torch.device, weight_stream: WeightStream) -> None:
    """Stream T5's blocks and move the rest to the device."""
    weight_stream.add(t5.encoder.block)
    t5.shared.to(device)
    t5.encoder.final_layer_norm.to(device)


def _verify(name: str, folder: Path) -> None:
    """Raises CheckpointError unless every listed file of the folder matches its sum."""
    for line in (folder / SUMS_FILE).read_text().splitlines():
        expected, file = line.split(maxsplit=1)
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != expected:
            raise CheckpointError(
                f"checkpoint {name}: {file} is damaged, it has not the SHA-256 sum {expected}"
            )


def _revisions(checkpoint: Checkpoint) -> dict[str, str]:
    return {name: revision_of(part, _folder(part)) for name, part in checkpoint.parts().items()}


def _load_annotators(checkpoint: Checkpoint) -> Annotators:
    parts = checkpoint.parts()
    detectors = {
        control: annotator.load(_folder(parts[annotator.role]))
        for control, annotator in checkpoint.annotators.items()
    }
    fallback = checkpoint.pose_fallback
    if fallback is not None:
        second = fallback.load(_folder(parts[fallback.role]))
        detectors["pose"] = PeopleFallback(detectors["pose"], second)
    return Annotators(**detectors)


def _folder(part: Part) -> Path:
    """The local folder of a part, downloaded from the hub if it is missing.

    Raises CheckpointError, also for a missing wheel: only the operator starts pip.
    """
    if part.wheel is None:
        return part.folder or fetch(part)
    folder = find(part)
    if folder is None:
        raise CheckpointError(
            f"{part.source} is not complete on this disk; python -m app.cli models download gets it"
        )
    return folder

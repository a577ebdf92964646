"""Counts the bytes of a checkpoint's weights, from its networks built on the meta device.

A tensor of the meta device has a shape and a dtype and no memory, so counting takes a second and
reads no file. The 8-bit networks are counted from what models/flux/float8.py makes, so that the
count stays true when more or fewer layers are converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.checkpoints.architecture import Architecture
from models.checkpoints.checkpoint import Checkpoint
from models.flux.float8 import in_float8
from models.flux.profiles import NetworkPair
from models.loras.layers import AdaptableLayers
from models.memory.flat_layout import flat_bytes
from models.memory.footprint import Footprint

_META = torch.device("meta")


def footprint(checkpoint: Checkpoint) -> Footprint | None:
    """The bytes of a checkpoint; None for one that is negligible on every card."""
    if checkpoint.architecture is None:
        return None
    counted = _count(checkpoint.architecture)
    annotators = sum(annotator.size for annotator in checkpoint.all_annotators())
    return replace(counted, rest=counted.rest + annotators)


@cache
def _count(shapes: Architecture) -> Footprint:
    """The bytes without the annotators."""
    with _META, _default_dtype(torch.bfloat16):
        exact = NetworkPair(
            FluxTransformer2DModel(**shapes.transformer), FluxControlNetModel(**shapes.controlnet)
        )
        clip = CLIPTextModel(CLIPTextConfig(**shapes.clip))
        t5 = T5EncoderModel(T5Config(**shapes.t5))
        vae = AutoencoderKL(**shapes.vae)
    float8 = NetworkPair(
        in_float8(exact.transformer, _META, True), in_float8(exact.controlnet, _META, True)
    )
    exact_tensors = _tensors(exact.transformer, exact.controlnet)
    float8_tensors = _tensors(float8.transformer, float8.controlnet)
    blocks, encoder_blocks = float8.blocks(), list(t5.encoder.block)
    return Footprint(
        networks=_size(exact_tensors.values()),
        float8=_size(float8_tensors.values()),
        float8_beside=_size(float8_tensors[key] for key in float8_tensors.keys() - exact_tensors),
        float8_blocks=_size(_tensors(*blocks).values()),
        largest_float8_block=max(map(flat_bytes, blocks)),
        encoders=_size(_tensors(clip, t5).values()),
        encoder_blocks=_size(_tensors(*encoder_blocks).values()),
        largest_encoder_block=max(map(flat_bytes, encoder_blocks)),
        rest=_size(_tensors(vae).values()),
        lora_rank=_lora_rank(float8.transformer) + _lora_rank(clip),
    )


def _lora_rank(network: nn.Module) -> int:
    """Bytes on the card of a LoRA of rank 1 that adapts every layer: more in 8 bits, where a side
    path of a fused projection has zeros."""
    numbers = 0
    for layer in AdaptableLayers(network).all:
        parts = len(layer.parts)
        numbers += parts * layer.shape.inputs + parts**2 * layer.shape.outputs
    return numbers * torch.bfloat16.itemsize


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensors(*modules: nn.Module) -> dict[int, torch.Tensor]:
    """Every parameter and buffer once, by its identity."""
    return {
        id(tensor): tensor
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }


def _size(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

"""LoRA files of random weights that change a network's own layers, for tests and counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from models.loras.layers import AdaptableLayers
from models.spec import Lora


def random_lora(
    shapes: Mapping[str, tuple[int, int]], rank: int, seed: int, prefix: str = "transformer."
) -> dict[str, Tensor]:
    """The tensors of a diffusers/PEFT file. shapes: layer -> (inputs, outputs)."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer, (inputs, outputs) in shapes.items():
        tensors[f"{prefix}{layer}.lora_A.weight"] = torch.randn(rank, inputs, generator=generator)
        tensors[f"{prefix}{layer}.lora_B.weight"] = (
            torch.randn(outputs, rank, generator=generator) / inputs
        )
    return tensors


def layer_shapes(network: nn.Module, among: Iterable[str] = ("",)) -> dict[str, tuple[int, int]]:
    """The linear layers whose name contains one of `among`: name -> (inputs, outputs)."""
    return {
        name: (shape.inputs, shape.outputs)
        for name, shape in AdaptableLayers(network).shapes.items()
        if any(part in name for part in among)
    }


def save_lora(folder: Path, name: str, tensors: Mapping[str, Tensor], scale: float = 1.0) -> Lora:
    """Writes folder/name.safetensors; the LoRA as a request names it."""
    content = save(dict(tensors))
    (folder / f"{name}.safetensors").write_bytes(content)
    return Lora(name, scale, hashlib.sha256(content).hexdigest())


def mixed_loras(folder: Path, network: nn.Module) -> list[Lora]:
    """Four LoRAs of different ranks: of attention, of the feed-forward layers, of every layer, and
    of one block."""
    kinds = (
        ("attention", 4, (".attn.",)),
        ("feed-forward", 16, (".ff.", "proj_mlp")),
        ("all", 33, ("",)),
        ("block", 8, ("transformer_blocks.1.",)),
    )
    return [
        save_lora(folder, name, random_lora(layer_shapes(network, among), rank, seed))
        for seed, (name, rank, among) in enumerate(kinds)
    ]

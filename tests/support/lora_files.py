"""LoRA files of the names that trainers write, with random numbers of tiny size; no torch."""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from models.loras.lora_folder import DEMO_LORAS

RANK = 4

DIFFUSERS = "transformer.transformer_blocks.0.attn.to_q"
KOHYA = "lora_unet_double_blocks_0_img_attn_qkv"
AI_TOOLKIT = "diffusion_model.double_blocks.0.img_attn.qkv"
XLABS = "double_blocks.0.processor.qkv_lora1"


def peft_layer(layer: str = DIFFUSERS, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    """name -> shape of the tensors of a layer, with the names of diffusers and PEFT."""
    return {f"{layer}.lora_A.weight": (rank, 8), f"{layer}.lora_B.weight": (8, rank)}


def kohya_layer(layer: str = KOHYA, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    return {
        f"{layer}.lora_down.weight": (rank, 8),
        f"{layer}.lora_up.weight": (8, rank),
        f"{layer}.alpha": (),
    }


def xlabs_layer(layer: str = XLABS, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    return {f"{layer}.down.weight": (rank, 8), f"{layer}.up.weight": (8, rank)}


def write_lora(
    file: Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """A safetensors file of F16 tensors. shapes: name -> shape; one diffusers layer without it."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in (peft_layer() if shapes is None else shapes).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    # Small positive halves: random low bytes under the exponent of 1/1024.
    numbers = b"".join(
        bytes((random.Random(seed + i).randrange(256), 0x14)) for i in range(end // 2)
    )
    file.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return file


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def served_loras(folder: Path) -> Path:
    """The demo's own LoRA, and one of each kind that a worker refuses: broken, of another model, a
    DoRA, and one that names layers of no model. Returns the folder."""
    shutil.copy(DEMO_LORAS / "cyanotype.safetensors", folder)
    (folder / "broken.safetensors").write_bytes(b"<html>")
    write_lora(folder / "other-model.safetensors")
    write_lora(folder / "dora.safetensors", {**peft_layer(), f"{DIFFUSERS}.dora_scale": (8,)})
    write_lora(folder / "no-layer.safetensors", peft_layer("transformer.transformer_blocks.99.x"))
    return folder

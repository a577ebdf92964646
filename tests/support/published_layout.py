"""A hub's cache as the download of FLUX.1-dev, Union-Pro, Union-Pro-2.0 and all annotators of the
hub leaves it, in a few megabytes.

Folders, names, shapes, dtypes, configs and the sizes of all weights are those published; each
number is 0. The networks of DWPose have the published sizes, inputs and outputs, and no weights.
The tokenizers have the published sizes, with words made here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from controlnet_aux.hed import ControlNetHED_Apache2
from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel
from controlnet_aux.open_pose.model import bodypose_model
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    T5Config,
    T5EncoderModel,
)

from models.checkpoints import CHECKPOINTS
from models.checkpoints.annotators.depth_anything import DEPTH_ANYTHING
from models.checkpoints.annotators.dwpose import DWPOSE
from models.checkpoints.checkpoint import Part
from tests.support import published_configs as configs
from tests.support.dwpose_networks import boxes_output, points_outputs, write_dwpose
from tests.support.sparse_weights import Tensors, write_shards, write_sparse

BASE_SIZES = {
    "text_encoder/model.safetensors": 246_144_352,
    "text_encoder_2/model-00001-of-00002.safetensors": 4_994_582_224,
    "text_encoder_2/model-00002-of-00002.safetensors": 4_530_066_360,
    "transformer/diffusion_pytorch_model-00001-of-00003.safetensors": 9_983_040_304,
    "transformer/diffusion_pytorch_model-00002-of-00003.safetensors": 9_949_328_904,
    "transformer/diffusion_pytorch_model-00003-of-00003.safetensors": 3_870_584_832,
    "vae/diffusion_pytorch_model.safetensors": 167_666_902,
}
"""Published bytes of the base's weights."""

_MAIN = "c" * 40  # the commit of a repository without a pinned one
_BF16_BYTES = 2
_RENAMED = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}


def write_hub_cache(cache: Path) -> None:
    """cache: HF_HUB_CACHE. Each repository has refs, blobs, and a snapshot of links to blobs."""
    first, second = CHECKPOINTS["flux-dev-union-pro"], CHECKPOINTS["flux-dev-union-pro-2"]
    writers: tuple[tuple[Part, Callable[[Path], None]], ...] = (
        (first.base, _write_base),
        (first.controlnet, partial(_write_controlnet, configs.UNION_PRO)),
        (second.controlnet, partial(_write_controlnet, configs.UNION_PRO_2)),
        (second.parts()["annotators"], write_annotators),
        (DEPTH_ANYTHING.part, _write_depth_anything),
        (DWPOSE.part, _write_dwpose),
    )
    for part, write in writers:
        assert part.repository is not None
        repository = cache / f"models--{part.repository.replace('/', '--')}"
        snapshot = repository / "snapshots" / (part.revision or _MAIN)
        snapshot.mkdir(parents=True)
        write(snapshot)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(part.revision or _MAIN)
        _move_to_blobs(snapshot, repository / "blobs")


def write_annotators(folder: Path) -> None:
    """Files of torch.save whose tensors share one number each."""
    with torch.device("meta"):
        depth = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
        pose = bodypose_model()
        softedge = ControlNetHED_Apache2().half()  # as it is published
    torch.save(_repeated(depth), folder / "dpt_hybrid-midas-501f0c75.pt")
    body = {name.partition(".")[2]: value for name, value in _repeated(pose).items()}
    torch.save(body, folder / "body_pose_model.pth")
    torch.save(_repeated(softedge), folder / "ControlNetHED.pth")


def _write_depth_anything(folder: Path) -> None:
    """Transformers has renamed the projections of the attention since the publication."""
    with torch.device("meta"):
        config = DepthAnythingConfig(**configs.DEPTH_ANYTHING)
        network = DepthAnythingForDepthEstimation(config)
    published = [(_published_name(name), shape) for name, shape in _tensors(network)]
    write_sparse(folder / "model.safetensors", published, dtype="F32", item_bytes=4)
    _write_json(folder / "config.json", configs.DEPTH_ANYTHING)
    _write_json(folder / "preprocessor_config.json", configs.DEPTH_ANYTHING_PROCESSOR)


def _published_name(name: str) -> str:
    for ours, published in _RENAMED.items():
        name = name.replace(f".attention.{ours}.", f".attention.{published}.")
    return name


def _write_dwpose(folder: Path) -> None:
    nowhere = points_outputs(np.zeros((133, 2)), np.zeros(133))
    write_dwpose(folder, boxes_output(), nowhere, DWPOSE.part.sizes)


def _write_base(folder: Path) -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel.from_config(configs.TRANSFORMER)
        vae = AutoencoderKL.from_config(configs.VAE)
        clip = CLIPTextModel(CLIPTextConfig(**configs.CLIP))
        t5 = T5EncoderModel(T5Config(**configs.T5))
    _write_json(folder / "model_index.json", configs.MODEL_INDEX)
    _write_json(folder / "scheduler" / "scheduler_config.json", configs.SCHEDULER)
    for name, config in {
        "text_encoder": configs.CLIP,
        "text_encoder_2": configs.T5,
        "transformer": configs.TRANSFORMER,
        "vae": configs.VAE,
    }.items():
        _write_json(folder / name / "config.json", config)
    write_shards(
        folder / "transformer",
        "diffusion_pytorch_model",
        _tensors(transformer),
        largest=10_000_000_000,
        item_bytes=_BF16_BYTES,
    )
    # The embedding is stored once, under the first of its two names.
    stored = [entry for entry in _tensors(t5) if entry[0] != "encoder.embed_tokens.weight"]
    write_shards(
        folder / "text_encoder_2",
        "model",
        stored,
        largest=5_000_000_000,
        item_bytes=_BF16_BYTES,
    )
    write_sparse(folder / "vae" / "diffusion_pytorch_model.safetensors", _tensors(vae))
    prefixed = [(f"text_model.{name}", shape) for name, shape in _tensors(clip)]
    write_sparse(folder / "text_encoder" / "model.safetensors", prefixed)
    _write_clip_tokenizer(folder / "tokenizer")
    _write_t5_tokenizer(folder / "tokenizer_2")


def _write_controlnet(config: configs.Config, folder: Path) -> None:
    with torch.device("meta"):
        controlnet = FluxControlNetModel.from_config(config)
    _write_json(folder / "config.json", config)
    write_sparse(folder / "diffusion_pytorch_model.safetensors", _tensors(controlnet))


def _write_clip_tokenizer(folder: Path) -> None:
    """49408 tokens: 256 bytes with and without the end of a word, 48894 merges, two ends."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ending = [f"{letter}</w>" for letter in letters]
    merges = list(islice(product(letters, ending + letters), 48_894))
    tokens = [*letters, *ending, *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    _write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", configs.CLIP_TOKENIZER)
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    _write_json(folder / "special_tokens_map.json", special)


def _write_t5_tokenizer(folder: Path) -> None:
    """32100 tokens, a hundred of them the extra ones. spiece.model is not read beside
    tokenizer.json: a hole of its size."""
    letters = [f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    made = [f"▁{number}" for number in range(32_000 - 4 - 2 * len(letters))]
    words = [*letters, *(letter[1:] for letter in letters), *made]
    extra = [f"<extra_id_{number}>" for number in reversed(range(100))]
    pieces = [(word, -float(number)) for number, word in enumerate(words, start=1)]
    specials = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>", "▁")]
    vocabulary = [*specials, *pieces, *((token, 0.0) for token in extra)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *extra])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    with (folder / "spiece.model").open("wb") as file:
        file.truncate(791_656)
    _write_json(folder / "tokenizer_config.json", configs.T5_TOKENIZER)
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write_json(folder / "special_tokens_map.json", special)


def _tensors(network: nn.Module) -> Tensors:
    """In the network's own order, by which the published shards are filled."""
    return [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]


def _repeated(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.full((1,), 0.01).to(value.dtype).expand(value.shape)
        for name, value in network.state_dict().items()
    }


def _write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _move_to_blobs(snapshot: Path, blobs: Path) -> None:
    """Each file becomes a link to a blob. The hub names a blob by the hash of its content; here it
    is the hash of the name, because 41 GB of zeros are not worth hashing."""
    blobs.mkdir()
    for file in [path for path in snapshot.rglob("*") if path.is_file()]:
        place = file.relative_to(snapshot)
        blob = blobs / hashlib.sha256(str(place).encode()).hexdigest()
        file.rename(blob)
        file.symlink_to(Path(*[".."] * (len(place.parts) + 1), "blobs", blob.name))

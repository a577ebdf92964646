"""Writes the trained networks as the checkpoint that is committed, and reads them from one.

The files are float16 safetensors in the layout of FluxControlNetPipeline, with the SHA-256 sum of
every file. Knows no training.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, T5EncoderModel

from models.checkpoints.demo_annotators import BodyPoseNet, DepthNet
from models.checkpoints.loader import SUMS_FILE
from tools.demotraining.flow import Flow
from tools.demotraining.networks import TextEncoders
from tools.demotraining.stages import Trained
from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer
from tools.demotraining.training import Network


def export(trained: Trained, folder: Path) -> None:
    """Write the checkpoint below `folder`: base/, controlnet/, annotators/ and the sums."""
    text = _half(trained.flow.text)
    pipe = FluxControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_half(trained.vae),
        text_encoder=text.clip,
        tokenizer=clip_tokenizer(),
        text_encoder_2=text.t5,
        tokenizer_2=t5_tokenizer(),
        transformer=_half(trained.transformer),
        controlnet=None,
    )
    pipe.save_pretrained(folder / "base")
    _half(trained.controlnet).save_pretrained(folder / "controlnet")
    annotators = folder / "annotators"
    annotators.mkdir(parents=True, exist_ok=True)
    for name, network in (("depth", trained.depth), ("pose", trained.pose)):
        weights = {key: value.contiguous() for key, value in _half(network).state_dict().items()}
        save_file(weights, annotators / f"{name}.safetensors")
    _forget_origins(folder)
    write_sums(folder)


def _forget_origins(folder: Path) -> None:
    """diffusers notes where a network was read from: a path of this machine."""
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def trained_in(folder: Path, device: torch.device) -> Trained:
    """The networks of the checkpoint below `folder`, in float32, to go on with."""

    def read(model_class: Any, name: str) -> Any:
        return model_class.from_pretrained(folder / name, torch_dtype=torch.float32).to(device)

    text = TextEncoders(
        read(CLIPTextModel, "base/text_encoder"), read(T5EncoderModel, "base/text_encoder_2")
    )
    depth, pose = DepthNet(), BodyPoseNet()
    for name, network in (("depth", depth), ("pose", pose)):
        network.load_state_dict(load_file(folder / "annotators" / f"{name}.safetensors"))
    return Trained(
        read(AutoencoderKL, "base/vae"),
        depth,
        pose,
        Flow(read(FluxTransformer2DModel, "base/transformer"), text).to(device),
        read(FluxControlNetModel, "controlnet"),
    )


def write_sums(folder: Path) -> None:
    """The sum of every file that is loaded from below `folder`, in the format of sha256sum."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json"))
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    )
    (folder / SUMS_FILE).write_text("".join(lines))


def _half(network: Network) -> Network:
    halved = network.to(device="cpu", dtype=torch.float16)
    return halved.to(memory_format=torch.contiguous_format)

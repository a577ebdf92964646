"""Random weights of FLUX's real shapes, and of tiny ones, made where they will be used.

Owns the shapes and the filling. Nothing stays zero that a trained model has non-zero: products
with zeros run faster, and the ControlNet's output layers start at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxTransformer2DModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.autoencoder import LATENT_CHANNELS
from models.checkpoints.demo_tokenizers import clip_tokenizer, t5_tokenizer

DTYPE = torch.bfloat16
_STD = 0.02
_CERTAIN = -30.0
"""Log variance of the encoder's latents: its draw is its mean, so all ways make one picture."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides how large the networks are. depth, union, plain: double and single
    blocks of the transformer, of Union-Pro and of Union-Pro-2.0."""

    flux: Mapping[str, Any]
    depth: tuple[int, int]
    union: tuple[int, int]
    plain: tuple[int, int]
    clip: Mapping[str, Any]
    t5: Mapping[str, Any]
    vae: Mapping[str, Any]


FULL = Shape(
    flux={
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "axes_dims_rope": (16, 56, 56),
    },
    depth=(19, 38),
    union=(5, 10),
    plain=(6, 0),
    clip={
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    t5={"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64}
    | {"num_layers": 24, "feed_forward_proj": "gated-gelu"},
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
)

TINY = Shape(
    flux={
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    },
    depth=(2, 2),
    union=(1, 2),
    plain=(2, 0),
    clip={
        "vocab_size": 1024,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    t5={"vocab_size": 512, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2}
    | {"num_layers": 2, "feed_forward_proj": "gated-gelu"},
    vae={"block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
)


def transformer(shape: Shape, device: torch.device) -> FluxTransformer2DModel:
    double, single = shape.depth
    return _made(
        lambda: FluxTransformer2DModel(
            num_layers=double, num_single_layers=single, guidance_embeds=True, **shape.flux
        ),
        device,
    )


def union_controlnet(shape: Shape, device: torch.device) -> FluxControlNetModel:
    """Shaped as Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro."""
    return _controlnet(shape, shape.union, device, num_mode=10)


def plain_controlnet(shape: Shape, device: torch.device) -> FluxControlNetModel:
    """Shaped as Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0, which has no modes."""
    return _controlnet(shape, shape.plain, device, num_mode=None)


def _controlnet(
    shape: Shape, depth: tuple[int, int], device: torch.device, num_mode: int | None
) -> FluxControlNetModel:
    double, single = depth
    return _made(
        lambda: FluxControlNetModel(
            num_layers=double,
            num_single_layers=single,
            num_mode=num_mode,
            guidance_embeds=True,
            **shape.flux,
        ),
        device,
    )


def pipeline(
    shape: Shape, device: torch.device, controlnet: FluxControlNetModel
) -> FluxControlNetPipeline:
    """The pipeline as diffusers ships it. Its scheduler takes a list of sigmas as it is."""
    clip_tokens, t5_tokens = clip_tokenizer(), t5_tokenizer()
    names = {name: getattr(clip_tokens, name) for name in ("bos_token_id", "eos_token_id")}
    clip = CLIPTextConfig(pad_token_id=clip_tokens.pad_token_id, **names, **shape.clip)
    t5 = _made(lambda: T5EncoderModel(T5Config(**shape.t5)), device)
    t5.tie_weights()  # to_empty gives both names of the embedding a tensor of their own
    return FluxControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=_autoencoder(shape, device),
        text_encoder=_made(lambda: CLIPTextModel(clip), device),
        tokenizer=clip_tokens,
        text_encoder_2=t5,
        tokenizer_2=t5_tokens,
        transformer=transformer(shape, device),
        controlnet=controlnet,
    )


def _autoencoder(shape: Shape, device: torch.device) -> AutoencoderKL:
    vae = _made(
        lambda: AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=LATENT_CHANNELS,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
            **shape.vae,
        ),
        device,
    )
    last = vae.encoder.conv_out
    with torch.no_grad():
        last.weight[LATENT_CHANNELS:] = 0.0
        last.bias[LATENT_CHANNELS:] = _CERTAIN
    return vae


@torch.no_grad()
def _made(make: Callable[[], Network], device: torch.device) -> Network:
    """The network without its own initialisation, which for 12 billion weights takes minutes."""
    with torch.device("meta"):
        network = make()
    network = network.to(DTYPE).to_empty(device=device)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1 and name.endswith("weight"):  # a norm's
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=_STD)
    for name, buffer in network.named_buffers():
        if not name.endswith("position_ids"):  # CLIP's is the only buffer of all five
            raise ValueError(f"{type(network).__name__} has a buffer {name} that nobody fills")
        buffer.copy_(torch.arange(buffer.shape[-1], device=device).expand_as(buffer))
    return network.eval().requires_grad_(False)

"""Random weights of a given shape, made where they will be used.

Owns the filling. Nothing stays zero that a trained model has non-zero: products
with zeros run faster, and the ControlNet's output layers start at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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

from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer
from tools.gpubench.networks.shapes import Shape

DTYPE = torch.bfloat16
LATENT_CHANNELS = 16
_CERTAIN = -30.0
"""Log variance of the encoder's latents: its draw is its mean, so all ways make one picture."""

Network = TypeVar("Network", bound=nn.Module)


def transformer(shape: Shape, device: torch.device) -> FluxTransformer2DModel:
    double, single = shape.depth
    return _made(
        lambda: FluxTransformer2DModel(
            num_layers=double, num_single_layers=single, guidance_embeds=True, **shape.flux
        ),
        shape,
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
        shape,
        device,
    )


def pipeline(
    shape: Shape, device: torch.device, controlnet: FluxControlNetModel
) -> FluxControlNetPipeline:
    """The pipeline as diffusers ships it. Its scheduler takes a list of sigmas as it is."""
    clip_tokens, t5_tokens = clip_tokenizer(), t5_tokenizer()
    names = {name: getattr(clip_tokens, name) for name in ("bos_token_id", "eos_token_id")}
    clip = CLIPTextConfig(pad_token_id=clip_tokens.pad_token_id, **names, **shape.clip)
    return FluxControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=autoencoder(shape, device),
        text_encoder=_made(lambda: CLIPTextModel(clip), shape, device),
        tokenizer=clip_tokens,
        text_encoder_2=t5(shape, device),
        tokenizer_2=t5_tokens,
        transformer=transformer(shape, device),
        controlnet=controlnet,
    )


def t5(shape: Shape, device: torch.device) -> T5EncoderModel:
    """The text encoder of the token embeddings."""
    encoder = _made(lambda: T5EncoderModel(T5Config(**shape.t5)), shape, device)
    encoder.tie_weights()  # to_empty gives both names of the embedding a tensor of their own
    return encoder


def autoencoder(shape: Shape, device: torch.device) -> AutoencoderKL:
    """FLUX's, whose latents have no spread."""
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
        shape,
        device,
    )
    last = vae.encoder.conv_out
    with torch.no_grad():
        last.weight[LATENT_CHANNELS:] = 0.0
        last.bias[LATENT_CHANNELS:] = _CERTAIN
    return vae


@torch.no_grad()
def _made(make: Callable[[], Network], shape: Shape, device: torch.device) -> Network:
    """The network without its own initialisation, which for 12 billion weights takes minutes."""
    with torch.device("meta"):
        network = make()
    network = network.to(DTYPE).to_empty(device=device)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1 and name.endswith("weight"):  # a norm's
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=shape.std)
    for name, buffer in network.named_buffers():
        if not name.endswith("position_ids"):  # CLIP's is the only buffer of all five
            raise ValueError(f"{type(network).__name__} has a buffer {name} without values")
        buffer.copy_(torch.arange(buffer.shape[-1], device=device).expand_as(buffer))
    return network.eval().requires_grad_(False)

"""Pairs of tiny FLUX networks with the structure of the real ones, and diffusers' own results.

They keep the ratio of blocks, an odd number of heads, and the presence of guidance and of modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import FluxControlNetModel, FluxMultiControlNetModel, FluxTransformer2DModel
from torch import Tensor, nn

from models.flux.networks import TextConditioning
from models.flux.profiles import NetworkPair

TEXT_WIDTH = 32
"""Of both text encoders, as in tools/stand_in.py."""


@dataclass(frozen=True, slots=True)
class Shape:
    """depth, control_depth: double and single blocks of the transformer and of the ControlNet.
    axes: of the rotary table; their sum is the width of a head.
    modes: of a Union ControlNet; None for one that has no mode embedding.
    """

    depth: tuple[int, int] = (5, 4)
    control_depth: tuple[int, int] = (2, 3)
    heads: int = 3
    axes: tuple[int, int, int] = (2, 6, 8)
    guidance: bool = True
    control_guidance: bool = True
    modes: int | None = 10


SMALL = Shape(depth=(2, 1), control_depth=(1, 1), heads=1)
"""For what does not depend on the networks at all."""

UNEVEN = Shape()
"""The ControlNet's blocks do not divide the transformer's, as 5 and 10 do not divide 19 and 38."""

DOUBLE_ONLY = Shape(control_depth=(3, 0), modes=None)
"""A ControlNet without single blocks and modes, as Union-Pro-2.0."""

REAL_DEPTH = Shape(depth=(19, 38), control_depth=(5, 10), heads=1)
"""FLUX.1-dev's blocks against those of Union-Pro, as narrow as can be."""


def network_pair(shape: Shape, dtype: torch.dtype = torch.float32) -> NetworkPair:
    """Both networks with random weights, the same for the same shape."""
    common = {
        "in_channels": 64,
        "attention_head_dim": sum(shape.axes),
        "num_attention_heads": shape.heads,
        "joint_attention_dim": TEXT_WIDTH,
        "pooled_projection_dim": TEXT_WIDTH,
        "axes_dims_rope": shape.axes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(19_38_5_10)
        transformer = FluxTransformer2DModel(
            num_layers=shape.depth[0],
            num_single_layers=shape.depth[1],
            guidance_embeds=shape.guidance,
            **common,
        )
        controlnet = FluxControlNetModel(
            num_layers=shape.control_depth[0],
            num_single_layers=shape.control_depth[1],
            guidance_embeds=shape.control_guidance,
            num_mode=shape.modes,
            **common,
        )
        # These start at zero for training; an untrained ControlNet would control nothing.
        for layer in (
            *controlnet.controlnet_blocks,
            *controlnet.controlnet_single_blocks,
            controlnet.controlnet_x_embedder,
        ):
            nn.init.normal_(layer.weight, std=0.15)
    return NetworkPair(transformer.to(dtype).eval(), controlnet.to(dtype).eval())


def text_conditioning(tokens: int, dtype: torch.dtype = torch.float32) -> TextConditioning:
    """A prompt of `tokens` T5 tokens, as the encoders would hand it over. But each token has its
    own place where theirs all have 0, so that the order of places is seen."""
    generator = torch.Generator().manual_seed(tokens)
    return TextConditioning(
        embeds=torch.randn(1, tokens, TEXT_WIDTH, generator=generator).to(dtype),
        pooled=torch.randn(1, TEXT_WIDTH, generator=generator).to(dtype),
        ids=(torch.arange(3 * tokens).reshape(tokens, 3) % 7).to(dtype),
    )


def diffusers_velocity(
    pair: NetworkPair,
    text: TextConditioning,
    image_ids: Tensor,
    tokens: Tensor,
    sigma: float,
    *,
    guidance: float,
    control: Tensor | None,
    mode: int | None,
    strength: float,
    further: Sequence[tuple[Tensor, int | None, float]] = (),
) -> Tensor:
    """One evaluation by the networks' own forward, called as FluxControlNetPipeline calls it;
    without the ControlNet where `control` is None. further: control, mode and strength of others
    beside it."""
    time = torch.tensor([sigma * 1000.0], dtype=torch.float32).to(tokens.dtype) / 1000
    scale = torch.tensor([guidance])
    shared = {
        "hidden_states": tokens,
        "timestep": time,
        "pooled_projections": text.pooled,
        "encoder_hidden_states": text.embeds,
        "txt_ids": text.ids,
        "img_ids": image_ids,
        "return_dict": False,
    }
    double = single = None
    if further:
        assert control is not None
        controls, modes, strengths = zip((control, mode, strength), *further, strict=True)
        double, single = FluxMultiControlNetModel([pair.controlnet])(
            controlnet_cond=controls,
            controlnet_mode=[torch.tensor([-1 if mode is None else mode]) for mode in modes],
            conditioning_scale=strengths,
            guidance=scale if pair.controlnet.config.guidance_embeds else None,
            **shared,
        )
    elif control is not None:
        double, single = pair.controlnet(
            controlnet_cond=control,
            controlnet_mode=None if mode is None else torch.tensor([[mode]]),
            conditioning_scale=strength,
            guidance=scale if pair.controlnet.config.guidance_embeds else None,
            **shared,
        )
    velocity: Tensor = pair.transformer(
        guidance=scale if pair.transformer.config.guidance_embeds else None,
        controlnet_block_samples=double,
        controlnet_single_block_samples=single,
        **shared,
    )[0]
    return velocity

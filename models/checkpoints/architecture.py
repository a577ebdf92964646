"""The shapes of a checkpoint's networks, as its config.json files state them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)  # hashable although a Config is not
class Architecture:
    """The configurations of the networks, without the names that diffusers and transformers add.

    transformer, controlnet: FluxTransformer2DModel, FluxControlNetModel. vae: AutoencoderKL.
    clip, t5: CLIPTextConfig, T5Config.
    """

    transformer: Config
    controlnet: Config
    vae: Config
    clip: Config
    t5: Config


_FLUX: Config = {
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
    "in_channels": 64,
    "guidance_embeds": True,
}

FLUX_DEV: Config = {**_FLUX, "num_layers": 19, "num_single_layers": 38}

UNION_PRO: Config = {**_FLUX, "num_layers": 5, "num_single_layers": 10, "num_mode": 10}

UNION_PRO_2: Config = {**_FLUX, "num_layers": 6, "num_single_layers": 0, "num_mode": None}

FLUX_VAE: Config = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}

CLIP_L: Config = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}

T5_XXL: Config = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_heads": 64,
    "num_layers": 24,
    "feed_forward_proj": "gated-gelu",
}

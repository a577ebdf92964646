"""Builds the demo's untrained networks: the real classes of FLUX's pipeline, as small as possible.

Owns every width and depth. Knows no data and no training.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

LATENT_CHANNELS = 8
_LOG_VARIANCE = -5.0

_FLUX = {
    "in_channels": 4 * LATENT_CHANNELS,
    "attention_head_dim": 64,
    "num_attention_heads": 2,
    "joint_attention_dim": 96,
    "pooled_projection_dim": 64,
    "axes_dims_rope": (16, 24, 24),
    "guidance_embeds": True,
}


def autoencoder() -> AutoencoderKL:
    """AutoencoderKL: 8 times smaller, 8 channels. It begins as a linear coder, so that colours pass
    from the first step; its encoder begins nearly certain, since channels that begin drowned in the
    posterior's noise are found late, or never."""
    made = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 48, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,  # few channels in a group would lose how bright a picture is
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    for module in made.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    last = made.encoder.conv_out
    with torch.no_grad():
        last.weight[LATENT_CHANNELS:] = 0.0
        last.bias[LATENT_CHANNELS:] = _LOG_VARIANCE
    return made


def text_encoders(clip: CLIPTokenizer, t5: T5TokenizerFast) -> TextEncoders:
    """Both text encoders for the vocabularies of their tokenizers."""
    return TextEncoders(
        CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip),
                hidden_size=_FLUX["pooled_projection_dim"],
                intermediate_size=128,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=clip.bos_token_id,
                eos_token_id=clip.eos_token_id,
                pad_token_id=clip.pad_token_id,
            )
        ),
        T5EncoderModel(
            T5Config(
                vocab_size=len(t5),
                d_model=_FLUX["joint_attention_dim"],
                d_kv=32,
                d_ff=192,
                num_layers=2,
                num_heads=3,
                dropout_rate=0.0,
            )
        ),
    )


class TextEncoders(nn.Module):
    """CLIP's pooled vector and T5's token embeddings, as FLUX's pipeline computes them."""

    def __init__(self, clip: CLIPTextModel, t5: T5EncoderModel) -> None:
        super().__init__()
        self.clip, self.t5 = clip, t5

    def forward(self, clip_ids: Tensor, t5_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(pooled [B, P], embeds [B, L, D])."""
        return self.clip(clip_ids).pooler_output, self.t5(t5_ids)[0]


def transformer() -> FluxTransformer2DModel:
    """FLUX's transformer with a guidance embedding. Its modulations and its answer begin at zero,
    so that every block begins as the identity (Peebles and Xie, arXiv 2212.09748)."""
    made = FluxTransformer2DModel(num_layers=2, num_single_layers=4, **_FLUX)
    for name, parameter in made.named_parameters():
        if ".linear." in name or name.startswith("proj_out"):
            nn.init.zeros_(parameter)
    return made


def controlnet(of: FluxTransformer2DModel, modes: int) -> FluxControlNetModel:
    """A Union ControlNet that begins as a copy of the transformer's first blocks. Its answers begin
    at zero; the control picture's embedding begins as that of the picture, whose space it shares.
    """
    made = FluxControlNetModel(num_layers=2, num_single_layers=2, num_mode=modes, **_FLUX)
    wanted = made.state_dict()
    copied = {name: value for name, value in of.state_dict().items() if name in wanted}
    made.load_state_dict(copied, strict=False)
    made.controlnet_x_embedder.load_state_dict(of.x_embedder.state_dict())
    return made

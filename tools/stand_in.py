"""Builds a tiny FLUX-shaped checkpoint of random weights, for tests and counts on any network.

Its pictures are noise that depends on prompt, control, seed and settings as real ones do. Built in
seconds, saved with save_pretrained in the layout of FluxControlNetPipeline and read back by
the loader of the real weights. The product never imports it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from controlnet_aux.midas import MidasDetector
from controlnet_aux.open_pose.body import Body
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.annotators.openpose import BodyDetector
from models.checkpoints import Checkpoint
from models.checkpoints.checkpoint import Annotator, Part
from models.control_types import UNION_MODES
from tools.demotraining.tokenizers import clip_tokenizer, t5_tokenizer

_LICENCE = "Apache-2.0"
_SEED = 20240924
_TEXT_WIDTH = 32
_FLUX = {
    "in_channels": 64,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": _TEXT_WIDTH,
    "pooled_projection_dim": _TEXT_WIDTH,
    "axes_dims_rope": (4, 6, 6),
    "guidance_embeds": True,
}


class TinyDepth(nn.Module):
    """Replaces MiDaS: [1, 3, H, W] in -1..1 -> [1, H, W], here blurred brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv2d(3, 1, 9, padding=4, padding_mode="replicate")

    def forward(self, picture: Tensor) -> Tensor:
        depth: Tensor = self.blur(picture)
        return depth[:, 0]


class TinyBodyPose(nn.Module):
    """Replaces OpenPose's body network: [1, 3, H, W] -> ([1, 38, H/8, W/8] limb
    fields, [1, 19, H/8, W/8] joint heat maps)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 16, 8, stride=8)
        self.limbs = nn.Conv2d(16, 38, 3, padding=1)
        self.joints = nn.Conv2d(16, 19, 3, padding=1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.tanh(self.features(picture))
        return self.limbs(features), self.joints(features)


class TinyBody(Body):  # type: ignore[misc]  # controlnet_aux ships no types
    """controlnet_aux's pose estimator around TinyBodyPose instead of a 200 MB network."""

    def __init__(self, model: TinyBodyPose) -> None:
        self.model = model


def stand_in(home: Path) -> Checkpoint:
    """Write the whole checkpoint below `home`. The same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        _pipeline().save_pretrained(home / "base")
        _controlnet().save_pretrained(home / "controlnet")
        annotators = home / "annotators"
        annotators.mkdir(parents=True)
        save_file(TinyDepth().state_dict(), annotators / "depth.safetensors")
        save_file(_body_pose().state_dict(), annotators / "pose.safetensors")
    annotators_part = Part(licence=_LICENCE, folder=annotators)
    return Checkpoint(
        name="stand-in",
        base=Part(licence=_LICENCE, folder=home / "base"),
        controlnet=Part(licence=_LICENCE, folder=home / "controlnet"),
        annotators={
            "depth": Annotator(name="midas", part=annotators_part, load=load_depth),
            "pose": Annotator(name="openpose", part=annotators_part, load=load_pose),
        },
        modes=UNION_MODES,
    )


def load_depth(folder: Path) -> MidasDetector:
    """The tiny network inside the real detector class."""
    network = TinyDepth()
    network.load_state_dict(load_file(folder / "depth.safetensors"))
    return MidasDetector(network.eval())


def load_pose(folder: Path) -> BodyDetector:
    """The same for people."""
    network = TinyBodyPose()
    network.load_state_dict(load_file(folder / "pose.safetensors"))
    return BodyDetector(TinyBody(network.eval()))


def _pipeline() -> FluxControlNetPipeline:
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    return FluxControlNetPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip),
                hidden_size=_TEXT_WIDTH,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                bos_token_id=clip.bos_token_id,
                eos_token_id=clip.eos_token_id,
                pad_token_id=clip.pad_token_id,
            )
        ),
        tokenizer=clip,
        text_encoder_2=T5EncoderModel(
            T5Config(
                vocab_size=len(t5), d_model=_TEXT_WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=2
            )
        ),
        tokenizer_2=t5,
        transformer=FluxTransformer2DModel(num_layers=2, num_single_layers=2, **_FLUX),
        controlnet=None,
    )


def _autoencoder() -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=4,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        # A trained encoder is nearly certain of its latents; so is this one (log variance -30).
        vae.encoder.conv_out.weight[16:] = 0.0
        vae.encoder.conv_out.bias[16:] = -30.0
        # Spread the picture over the visible range instead of a flat grey.
        vae.decoder.conv_out.weight *= 3.0
    return vae


def _controlnet() -> FluxControlNetModel:
    controlnet = FluxControlNetModel(
        num_layers=2, num_single_layers=2, num_mode=len(UNION_MODES), **_FLUX
    )
    with torch.no_grad():
        # These start at zero for training; an untrained ControlNet would control nothing.
        for block in (
            *controlnet.controlnet_blocks,
            *controlnet.controlnet_single_blocks,
            controlnet.controlnet_x_embedder,
        ):
            nn.init.normal_(block.weight, std=0.15)
    return controlnet


def _body_pose() -> TinyBodyPose:
    pose = TinyBodyPose()
    assert pose.joints.bias is not None
    with torch.no_grad():
        pose.joints.bias.fill_(-0.1)  # few joints, so that a map holds figures and not a carpet
    return pose

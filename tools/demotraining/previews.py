"""Draws sheets of pictures during the training, from prompts alone and from each control type.

Owns a plain Euler loop over a batch, because the server's samplers need a finished checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxControlNetModel
from PIL import Image
from torch import Tensor, nn

from models.control_types import UNION_MODES
from models.denoiser import pack, unpack
from models.sampling import sigmas_for
from tools.demotraining.batches import network_inputs
from tools.demotraining.coder import to_picture, to_tensor
from tools.demotraining.flow import Flow
from tools.demotraining.lessons import Words
from tools.demotraining.maps import canny_map, depth_map, pose_map
from tools.demotraining.painting import Pixels, paint
from tools.demotraining.scenes import draw_scene

_SIDE, _STEPS, _GUIDANCE = 256, 12, 3.5
_LATENT_SIDE = _SIDE // 8
_CONTROLS = ("canny", "canny", "depth", "depth", "pose", "pose", "tile", "tile")

Sheet = Callable[[nn.Module, Path], None]


def flow_sheet(vae: AutoencoderKL, words: Words) -> Sheet:
    """Eight prompts: each scene above the transformer's picture of its prompt."""
    scenes = [draw_scene(Random(f"preview {index}")) for index in range(8)]
    painted = [paint(scene, (_SIDE, _SIDE)).picture for scene in scenes]
    ids = words([scene.prompt for scene in scenes])

    def sheet(flow: nn.Module, path: Path) -> None:
        assert isinstance(flow, Flow)
        _save([painted, _decoded(vae, _sampled(flow, ids))], path)

    return sheet


def control_sheet(vae: AutoencoderKL, words: Words, flow: Flow) -> Sheet:
    """Two scenes of each control type: the scene, its map, the output at strength 1."""
    scenes = [draw_scene(Random(f"preview {i}"), c == "pose") for i, c in enumerate(_CONTROLS)]
    painted = [paint(scene, (_SIDE, _SIDE)) for scene in scenes]
    drawn = {"canny": canny_map, "depth": depth_map, "pose": pose_map}
    maps = [
        one.picture if control == "tile" else drawn[control](one)
        for one, control in zip(painted, _CONTROLS, strict=True)
    ]
    ids = words([scene.prompt for scene in scenes])

    def sheet(controlnet: nn.Module, path: Path) -> None:
        assert isinstance(controlnet, FluxControlNetModel)
        pictures = torch.stack([to_tensor(one) for one in maps]).to(vae.device)
        means = vae.encode(pictures).latent_dist.mode()
        shown = pack((means - vae.config.shift_factor) * vae.config.scaling_factor)
        made = _decoded(vae, _sampled(flow, ids, controlnet, shown))
        _save([[one.picture for one in painted], maps, made], path)

    return sheet


def _sampled(
    flow: Flow,
    ids: tuple[Tensor, Tensor],
    controlnet: FluxControlNetModel | None = None,
    shown: Tensor | None = None,
) -> Tensor:
    """Latents of as many pictures as there are prompts."""
    count = len(ids[0])
    channels = flow.transformer.config.in_channels // 4
    seeded = torch.Generator().manual_seed(0)
    device = flow.transformer.device
    x = torch.randn(count, channels, _LATENT_SIDE, _LATENT_SIDE, generator=seeded).to(device)
    modes = torch.tensor([[UNION_MODES[control]] for control in _CONTROLS[:count]], device=device)
    sigmas = sigmas_for("simple", _STEPS).tolist()
    pooled, embeds = flow.text(*(one.to(device) for one in ids))
    for sigma, following in pairwise(sigmas):
        level, guidance = (torch.full((count,), v, device=device) for v in (sigma, _GUIDANCE))
        inputs = network_inputs(pack(x), x.shape, level, guidance, pooled, embeds)
        residuals = {}
        if controlnet is not None:
            double, single = controlnet(
                **inputs, controlnet_cond=shown, controlnet_mode=modes, return_dict=False
            )
            residuals = {
                "controlnet_block_samples": double,
                "controlnet_single_block_samples": single,
            }
        (velocity,) = flow.transformer(**inputs, **residuals, return_dict=False)
        x = x + (following - sigma) * unpack(velocity, _LATENT_SIDE, _LATENT_SIDE)
    return x


def _decoded(vae: AutoencoderKL, latents: Tensor) -> list[Pixels]:
    scaled = latents / vae.config.scaling_factor + vae.config.shift_factor
    return [to_picture(one) for one in vae.decode(scaled).sample]


def _save(rows: list[list[Pixels]], path: Path) -> None:
    Image.fromarray(np.vstack([np.hstack(row) for row in rows])).save(path)

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

from models.denoiser import pack, unpack
from models.sampling import sigmas_for
from tools.demotraining.batches import network_inputs
from tools.demotraining.coder import to_picture, to_tensor
from tools.demotraining.control import summed_residuals
from tools.demotraining.flow import Flow
from tools.demotraining.lessons import Words
from tools.demotraining.maps import control_map
from tools.demotraining.mixtures import CONTROL, REFINEMENT, Controls
from tools.demotraining.painting import Pixels, paint
from tools.demotraining.refinement import Refined
from tools.demotraining.scenes import draw_scene

_SIDE, _STEPS, _GUIDANCE = 256, 12, 3.5
_LATENT_SIDE = _SIDE // 8

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
    """Scenes above their maps and the outputs at strength 1, two of each control type."""
    shown = [one for one in CONTROL.shares for _ in range(2)]
    draw = _controlled_sheet(vae, words, shown)

    def sheet(controlnet: nn.Module, path: Path) -> None:
        assert isinstance(controlnet, FluxControlNetModel)
        draw(flow, controlnet, path)

    return sheet


def refined_sheet(vae: AutoencoderKL, words: Words) -> Sheet:
    """Scenes above their maps and the outputs at strength 1, one of each of the controls."""
    draw = _controlled_sheet(vae, words, [one for one in REFINEMENT.shares if one])

    def sheet(refined: nn.Module, path: Path) -> None:
        assert isinstance(refined, Refined)
        draw(refined.flow, refined.controlnet, path)

    return sheet


def _controlled_sheet(
    vae: AutoencoderKL, words: Words, controls: list[Controls]
) -> Callable[[Flow, FluxControlNetModel, Path], None]:
    scenes = [
        draw_scene(Random(f"preview {index}"), person="pose" in wanted)
        for index, wanted in enumerate(controls)
    ]
    painted = [paint(scene, (_SIDE, _SIDE)) for scene in scenes]
    nothing = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    rows = []
    for index in range(max(map(len, controls))):
        has = [len(wanted) > index for wanted in controls]
        maps = [
            control_map(wanted[index], one) if there else nothing
            for wanted, one, there in zip(controls, painted, has, strict=True)
        ]
        rows.append((maps, torch.tensor(has, dtype=torch.float32)))
    ids = words([scene.prompt for scene in scenes])

    def draw(flow: Flow, controlnet: FluxControlNetModel, path: Path) -> None:
        shown = torch.stack([_encoded(vae, maps) for maps, _ in rows])
        strengths = torch.stack([has for _, has in rows]).to(shown.device)

        def residuals(inputs: dict[str, Tensor]) -> dict[str, list[Tensor]]:
            return summed_residuals(controlnet, inputs, tuple(controls), shown, strengths)

        made = _decoded(vae, _sampled(flow, ids, residuals))
        _save([[one.picture for one in painted], *(maps for maps, _ in rows), made], path)

    return draw


def _sampled(
    flow: Flow,
    ids: tuple[Tensor, Tensor],
    residuals: Callable[[dict[str, Tensor]], dict[str, list[Tensor]]] = lambda _inputs: {},
) -> Tensor:
    """Latents of as many pictures as there are prompts."""
    count = len(ids[0])
    channels = flow.transformer.config.in_channels // 4
    seeded = torch.Generator().manual_seed(0)
    device = flow.transformer.device
    x = torch.randn(count, channels, _LATENT_SIDE, _LATENT_SIDE, generator=seeded).to(device)
    sigmas = sigmas_for("simple", _STEPS).tolist()
    pooled, embeds = flow.text(*(one.to(device) for one in ids))
    for sigma, following in pairwise(sigmas):
        level, guidance = (torch.full((count,), v, device=device) for v in (sigma, _GUIDANCE))
        inputs = network_inputs(pack(x), x.shape, level, guidance, pooled, embeds)
        (velocity,) = flow.transformer(**inputs, **residuals(inputs), return_dict=False)
        x = x + (following - sigma) * unpack(velocity, _LATENT_SIDE, _LATENT_SIDE)
    return x


def _encoded(vae: AutoencoderKL, pictures: list[Pixels]) -> Tensor:
    shown = torch.stack([to_tensor(one) for one in pictures]).to(vae.device)
    means: Tensor = vae.encode(shown).latent_dist.mode()
    scaled: Tensor = (means - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


def _decoded(vae: AutoencoderKL, latents: Tensor) -> list[Pixels]:
    scaled = latents / vae.config.scaling_factor + vae.config.shift_factor
    return [to_picture(one) for one in vae.decode(scaled).sample]


def _save(rows: list[list[Pixels]], path: Path) -> None:
    Image.fromarray(np.vstack([np.hstack(row) for row in rows])).save(path)

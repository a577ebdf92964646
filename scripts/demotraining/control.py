"""Stage 4: the ControlNet for canny, depth, pose and tile, with everything else frozen.

Owns its loss: the transformer's own, with the ControlNet's residuals at strength 1. Knows which
number each control type has in the mode embedding from models.checkpoints.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import FluxControlNetModel
from torch import Tensor

from models.checkpoints.checkpoint import UNION_MODES
from models.denoiser import pack
from scripts.demotraining.flow import Flow, Phase, choose_set, make_batch
from scripts.demotraining.lessons import Lessons, Words

_CONTROLS = (("canny", 0.3), ("depth", 0.25), ("pose", 0.25), ("tile", 0.2))
_TEXTURES = {"tile": 0.5, "canny": 0.15}
"""Shares of the control types in the batches, and of textures among their pictures."""


class ControlLoss:
    """Squared distance to the velocity with the ControlNet's help."""

    def __init__(
        self,
        controlnet: FluxControlNetModel,
        flow: Flow,
        sets: dict[str, Lessons],
        phases: tuple[Phase, ...],
        words: Words,
    ) -> None:
        self._controlnet, self._flow = controlnet, flow.requires_grad_(False)
        self._sets, self._phases = sets, phases
        self._silence = words([""])

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        name, size = choose_set(rng, self._phases, passed)
        lessons = self._sets[name]
        names, shares = zip(*_CONTROLS, strict=True)
        controls = [str(rng.choice(names, p=shares)) for _ in range(size)]
        picked = [_pick(rng, lessons, control) for control in controls]
        device = self._flow.transformer.device
        batch = make_batch(rng, lessons, np.array([r for r, _ in picked]), self._silence, device)
        shown = pack(torch.stack([latents for _, latents in picked]).float().to(device))
        modes = torch.tensor([[UNION_MODES[control]] for control in controls], device=device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                pooled, embeds = self._flow.text(batch.clip_ids, batch.t5_ids)
            double, single = self._controlnet(
                **batch.told(pooled, embeds),
                controlnet_cond=shown,
                controlnet_mode=modes,
                return_dict=False,
            )
            velocity = self._flow(
                batch,
                controlnet_block_samples=double,
                controlnet_single_block_samples=single,
            )
        return ((velocity.float() - batch.velocity) ** 2).mean()


def _pick(rng: np.random.Generator, lessons: Lessons, control: str) -> tuple[int, Tensor]:
    """A row of the set and the latents of its control map. A tile is the picture itself."""
    texture = rng.random() < _TEXTURES.get(control, 0.0)
    if control == "tile":
        first, last = (lessons.scenes, len(lessons.latents)) if texture else (0, lessons.scenes)
        row = int(rng.integers(first, last))
        return row, lessons.latents[row]
    rows = lessons.mapped[control]
    # Textures come last, and there are such of canny only.
    border = int((rows < lessons.scenes).sum())
    first, last = (border, len(rows)) if texture else (0, border)
    place = int(rng.integers(first, last))
    return int(rows[place]), lessons.maps[control][place]

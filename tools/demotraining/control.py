"""Stage 4: the ControlNet for canny, depth, pose and tile, with everything else frozen.

Owns its loss: the transformer's loss with the ControlNet's residuals at strength 1. The
index of each control type in the mode embedding comes from models.control_types.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import FluxControlNetModel
from torch import Tensor

from models.control_types import UNION_MODES
from models.denoiser import pack
from tools.demotraining.batches import Batches
from tools.demotraining.flow import Flow

CONTROL_SHARES = {"canny": 0.35, "depth": 0.25, "pose": 0.25, "tile": 0.15}


class ControlLoss:
    """Squared distance to the velocity with the ControlNet's help."""

    def __init__(self, controlnet: FluxControlNetModel, flow: Flow, batches: Batches) -> None:
        self._controlnet, self._flow = controlnet, flow.requires_grad_(False)
        self._batches = batches

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        batch = self._batches.draw(rng, passed)
        device = batch.noise.device
        modes = torch.tensor([[UNION_MODES[control]] for control in batch.controls], device=device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                pooled, embeds = self._flow.text(batch.clip_ids, batch.t5_ids)
            double, single = self._controlnet(
                **batch.network_inputs(pooled, embeds),
                controlnet_cond=pack(batch.shown),
                controlnet_mode=modes,
                return_dict=False,
            )
            velocity = self._flow(
                batch,
                controlnet_block_samples=double,
                controlnet_single_block_samples=single,
            )
        distance: Tensor = ((velocity.float() - batch.velocity) ** 2).mean()
        return distance

"""Stage 4: the ControlNet for canny, depth, pose and tile, with everything else frozen.

Owns its loss: the transformer's loss with the ControlNet's residuals. The index of each control
type in the mode embedding comes from models.control_types.
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
from tools.demotraining.mixtures import Controls

_OUTLIER = 2.0
"""What any worse picture counts. Values that were never seen, as of guidance, can be worse by a
factor of 1000 at first, and would decide the direction of the whole step."""


class ControlLoss:
    """Squared distance to the velocity with the ControlNet's help."""

    def __init__(self, controlnet: FluxControlNetModel, flow: Flow, batches: Batches) -> None:
        self._controlnet, self._flow, self._batches = controlnet, flow, batches

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        batch = self._batches.draw(rng, passed)
        with torch.autocast(batch.noise.device.type, torch.bfloat16):
            text = self._flow.text(batch.clip_ids, batch.t5_ids)
            residuals = summed_residuals(
                self._controlnet,
                batch.network_inputs(*text),
                batch.controls,
                batch.shown,
                batch.strengths,
            )
            velocity = self._flow(batch, text, **residuals)
        distances = ((velocity.float() - batch.velocity) ** 2).mean(dim=(1, 2))
        distance: Tensor = (distances / (distances.detach() / _OUTLIER).clamp(min=1)).mean()
        return distance


def summed_residuals(
    controlnet: FluxControlNetModel,
    inputs: dict[str, Tensor],
    controls: tuple[Controls, ...],
    shown: Tensor,
    strengths: Tensor,
) -> dict[str, list[Tensor]]:
    """The transformer's arguments for all maps, summed as FluxMultiControlNetModel sums them.

    controls: of each picture. shown: [M, B, C, h, w]. strengths: [M, B], 0 where there is no map.
    """
    added: dict[str, list[Tensor]] = {}
    for index in range(len(shown)):
        modes = [UNION_MODES[one[index]] if index < len(one) else 0 for one in controls]
        double, single = controlnet(
            **inputs,
            controlnet_cond=pack(shown[index]),
            controlnet_mode=torch.tensor(modes, device=shown.device)[:, None],
            return_dict=False,
        )
        factors = strengths[index][:, None, None]
        for name, samples in (
            ("controlnet_block_samples", double),
            ("controlnet_single_block_samples", single),
        ):
            scaled = [sample * factors for sample in samples]
            earlier = added.get(name)
            added[name] = (
                [a + b for a, b in zip(earlier, scaled, strict=True)] if earlier else scaled
            )
    return added

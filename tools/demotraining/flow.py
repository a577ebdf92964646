"""Stage 3: the transformer with both text encoders, on rectified flow.

Owns the loss and the hint: for most pictures a linear map of the control map's latents is added
where a ControlNet's residuals will be added later. Without the hint nearly all of the loss is about
the positions of things; with it the network learns the words much faster. The hint is discarded
after the stage, and the ControlNet (stage 4) replaces it.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from models.denoiser import pack
from tools.demotraining.batches import Batch, Batches
from tools.demotraining.mixtures import FLOW
from tools.demotraining.networks import TextEncoders


class Hint(nn.Module):
    """A matrix per control type, from the latents of its map to the term added to the tokens."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self._controls = list(FLOW.shares)
        self.weights = nn.Parameter(torch.zeros(len(self._controls), channels, width))

    def forward(self, batch: Batch) -> Tensor:
        """[B, tokens, width]; 0 for a picture without a map."""
        chosen = torch.tensor([self._controls.index(control) for control in batch.controls])
        return pack(batch.shown[0]) @ self.weights[chosen.to(self.weights.device)]


class Flow(nn.Module):
    """The trained part of the stage: transformer, text encoders, hint."""

    def __init__(self, transformer: FluxTransformer2DModel, text: TextEncoders) -> None:
        super().__init__()
        self.transformer, self.text = transformer, text
        self.hint = Hint(transformer.config.in_channels, transformer.inner_dim)

    def forward(self, batch: Batch, text: tuple[Tensor, Tensor], **residuals: object) -> Tensor:
        """Velocity tokens. text: of the batch, from the text encoders."""
        velocity: Tensor = self.transformer(
            **batch.network_inputs(*text), **residuals, return_dict=False
        )[0]
        return velocity


class FlowLoss:
    """Squared distance to the velocity."""

    def __init__(self, flow: Flow, batches: Batches) -> None:
        self._flow, self._batches = flow, batches

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        batch = self._batches.draw(rng, passed)
        with torch.autocast(batch.noise.device.type, torch.bfloat16):
            text = self._flow.text(batch.clip_ids, batch.t5_ids)
            velocity = self._flow(batch, text, controlnet_block_samples=[self._flow.hint(batch)])
        distance: Tensor = ((velocity.float() - batch.velocity) ** 2).mean()
        return distance

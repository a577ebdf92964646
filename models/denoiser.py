"""FLUX with its ControlNet as one function, denoise(x, sigma) -> x0.

Owns the model call: packing, the control window, the strength, and the count of evaluations.
Knows no sampler and no schedule; the samplers know nothing of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FluxControlNetPipeline
from torch import Tensor

from models.sampling import control_active


@dataclass(frozen=True, slots=True)
class TextConditioning:
    """What the text encoders made of a prompt: embeds [1, L, D], pooled [1, P], ids [L, 3]."""

    embeds: Tensor
    pooled: Tensor
    ids: Tensor


@dataclass(frozen=True, slots=True)
class Control:
    """The control input of a request.

    latents: packed latents of the control map, [1, tokens, 64]. mode: [1, 1], index of the mode
    embedding. strength: factor on every residual, 0..2. stop: control_active's cn_stop, 0..1.
    """

    latents: Tensor
    mode: Tensor
    strength: float
    stop: float
    mu: float


class ControlledDenoiser:
    """denoise(x, sigma) -> x0 for one picture; counts its model evaluations.

    x is [1, 16, H/8, W/8] in the precision the sampler works in; only the model call is cast.
    sigma is a 0-dim CPU tensor, so that asking it never waits for the GPU.
    """

    def __init__(
        self,
        pipe: FluxControlNetPipeline,
        text: TextConditioning,
        control: Control,
        guidance: float,
        latent_size: tuple[int, int],
    ) -> None:
        self._transformer = pipe.transformer
        self._controlnet = pipe.controlnet
        self._control = control
        self._height, self._width = latent_size
        device, dtype = text.embeds.device, text.embeds.dtype
        self._shared: dict[str, Any] = {
            "encoder_hidden_states": text.embeds,
            "pooled_projections": text.pooled,
            "txt_ids": text.ids,
            "img_ids": pipe._prepare_latent_image_ids(
                1, self._height // 2, self._width // 2, device, dtype
            ),
            "return_dict": False,
        }
        self._guidance = torch.tensor([guidance], device=device, dtype=torch.float32)
        self.evaluations = 0
        self.controlled = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        dtype = self._shared["encoder_hidden_states"].dtype
        tokens = pack(x.to(dtype))
        # FLUX was trained on timesteps of 0..1000 that pipelines round to the model's precision.
        timestep = (sigma.float() * 1000).to(dtype) / 1000
        inputs = {
            **self._shared,
            "hidden_states": tokens,
            # A fill, not a copy from the host: a copy would wait for everything queued before it.
            "timestep": torch.full((x.shape[0],), timestep.item(), device=x.device, dtype=dtype),
        }
        residuals = self._residuals(inputs, sigma)
        velocity = self._transformer(
            **inputs, **residuals, guidance=self._guidance_for(self._transformer)
        )[0]
        self.evaluations += 1
        return x - unpack(velocity, self._height, self._width).to(x.dtype) * sigma.to(x.dtype)

    def _residuals(self, inputs: dict[str, Any], sigma: Tensor) -> dict[str, Any]:
        """The ControlNet's residuals at this sigma; outside its window it is not run at all."""
        control = self._control
        if control.strength == 0 or not control_active(sigma, control.stop, control.mu):
            return {}
        blocks, single_blocks = self._controlnet(
            **inputs,
            controlnet_cond=control.latents,
            controlnet_mode=control.mode,
            conditioning_scale=control.strength,
            guidance=self._guidance_for(self._controlnet),
        )
        self.controlled += 1
        return {
            "controlnet_block_samples": blocks,
            "controlnet_single_block_samples": single_blocks,
        }

    def _guidance_for(self, model: Any) -> Tensor | None:
        # A model that was not distilled for guidance takes none.
        return self._guidance if model.config.guidance_embeds else None


def pack(latents: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H/2 * W/2, C * 4]: one token a 2x2 patch (black-forest-labs/flux)."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of pack for latents of height x width."""
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, height, width)

"""The ways to make one picture: each takes (rig, spec, control map) and returns uint8 pixels.

Owns the differences between the configurations, except compilation, which changes a rig's blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from diffusers import FluxControlNetModel
from diffusers.models.attention_dispatch import attention_backend
from PIL import Image

from models import pipeline
from models.autoencoder import LATENT_SCALE
from models.denoiser import pack
from models.sampling import control_active, initial_noise, sigmas_for
from models.spec import GenerationSpec
from tools.gpubench.networks.rig import Picture, Prepare, Rig


def shipped(rig: Rig, spec: GenerationSpec, control: Image.Image) -> Picture:
    """FluxControlNetPipeline.__call__ with the noise, the sigmas and the window of our loop."""
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)[:-1].tolist()
    controlled = sum(control_active(sigma, spec.stop, spec.mu) for sigma in sigmas)
    noise = initial_noise(
        spec.seed,
        (
            1,
            rig.loaded.autoencoder.channels,
            spec.height // LATENT_SCALE,
            spec.width // LATENT_SCALE,
        ),
    )
    made = rig.pipe(
        spec.prompt,
        width=spec.width,
        height=spec.height,
        sigmas=sigmas,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance,
        control_image=control,
        control_mode=rig.mode,
        controlnet_conditioning_scale=spec.strength,
        control_guidance_end=controlled / spec.steps,
        latents=pack(noise).to(rig.loaded.device, rig.loaded.dtype),
        output_type="pil",
    )
    return np.asarray(made.images[0])


def shipped_flash(rig: Rig, spec: GenerationSpec, control: Image.Image) -> Picture:
    """`shipped` with flash-attention 2, which torch picked before 2.11."""
    with attention_backend("_native_flash"):
        return shipped(rig, spec, control)


def shipped_skipping(rig: Rig, spec: GenerationSpec, control: Image.Image) -> Picture:
    """`shipped` without the ControlNet calls whose result is multiplied by zero."""
    with _skipping_at_zero(rig.pipe.controlnet):
        return shipped(rig, spec, control)


@contextmanager
def _skipping_at_zero(controlnet: FluxControlNetModel) -> Iterator[None]:
    forward = controlnet.forward

    def skipping(*args: Any, conditioning_scale: float, **options: Any) -> Any:
        if conditioning_scale == 0.0:
            return None, None
        return forward(*args, conditioning_scale=conditioning_scale, **options)

    with patch.object(controlnet, "forward", skipping):
        yield


def own(
    rig: Rig, spec: GenerationSpec, control: Image.Image, prepare: Prepare | None = None
) -> Picture:
    """models.pipeline.generate: what a gpu worker runs. `prepare` replaces the rig's."""
    with patch.object(pipeline, "prepare_denoiser", prepare or pipeline.prepare_denoiser):
        made = pipeline.generate(rig.loaded, spec, control, lambda _step, _steps: None)
    return made.pictures[0]

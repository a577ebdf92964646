"""The same request to our loop and to diffusers' FluxControlNetPipeline, as latents.

The shipped pipeline draws the control latents from the autoencoder's posterior; for the comparison
it takes the mean, as we do. Everything else it does as it does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxControlNetPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor

from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.controls import make_control_map
from models.denoiser import pack, unpack
from models.finite import FiniteWatch
from models.flux.profiles import NetworkPair, Networks
from models.memory.plans import HOST_PLAN, MemoryPlan
from models.pipeline import prepare_denoiser, sample
from models.sampling import initial_noise, sigmas_for
from models.spec import CONTROL_NAMES, GenerationSpec
from models.text import TextEncoders
from tests.support.pictures import astronaut


def with_networks(
    loaded: LoadedCheckpoint,
    pair: NetworkPair,
    *,
    plan: MemoryPlan = HOST_PLAN,
    text_tokens: int = 77,
) -> LoadedCheckpoint:
    """`loaded` with other networks between its encoders and its autoencoder."""
    networks = Networks(pair, loaded.device, plan, compiled=False)
    served = networks.of("exact" if plan.exact else "fast")
    pipe = FluxControlNetPipeline(
        **{
            **loaded.pipe.components,
            "transformer": served.transformer,
            "controlnet": served.controlnet,
        }
    )
    modes = loaded.checkpoint.modes if served.controlnet.union else dict.fromkeys(CONTROL_NAMES)
    return replace(
        loaded,
        checkpoint=replace(loaded.checkpoint, text_tokens=text_tokens, modes=modes),
        pipe=pipe,
        networks=networks,
        text=TextEncoders(pipe, loaded.device, TensorCache(1024**2), text_tokens),
    )


def control_map_of(loaded: LoadedCheckpoint, spec: GenerationSpec) -> Image.Image:
    size = spec.width, spec.height
    return make_control_map(spec.control, astronaut(), size, loaded.annotators)


@torch.inference_mode()
def ours(loaded: LoadedCheckpoint, spec: GenerationSpec, control_map: Image.Image) -> list[Tensor]:
    """Latents of each picture of the request."""
    denoiser = prepare_denoiser(loaded, spec, control_map)
    return [
        sample(FiniteWatch(denoiser), spec, index, loaded, lambda _step, _steps: None)
        for index in range(spec.samples)
    ]


def shipped(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    control_map: Image.Image,
    seeds: Sequence[int],
    controlled: int,
) -> Tensor:
    """One call of the pipeline for a batch of seeds, with the ControlNet in the first `controlled`
    steps."""
    pipe = loaded.pipe
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False, shift=1.0)
    pipe.set_progress_bar_config(disable=True)
    height, width = spec.height // 8, spec.width // 8
    latents = torch.cat([pack(initial_noise(seed, (1, 16, height, width))) for seed in seeds])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiagonalGaussianDistribution, "sample", lambda self, *_: self.mode())
        made = pipe(
            spec.prompt,
            width=spec.width,
            height=spec.height,
            sigmas=sigmas_for(spec.schedule, spec.steps)[:-1].tolist(),
            num_inference_steps=spec.steps,
            num_images_per_prompt=len(seeds),
            guidance_scale=spec.guidance,
            control_image=control_map,
            control_mode=loaded.checkpoint.modes[spec.control],
            controlnet_conditioning_scale=spec.strength,
            control_guidance_end=controlled / spec.steps,
            latents=latents,
            max_sequence_length=loaded.checkpoint.text_tokens,
            output_type="latent",
        ).images
    return unpack(made, height, width)

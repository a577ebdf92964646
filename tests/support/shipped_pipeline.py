"""The same request to our loop and to diffusers' FluxControlNetPipeline, as latents.

The shipped pipeline draws the control latents from the autoencoder's posterior; for the comparison
it takes the mean, as we do. Everything else it does as it does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetPipeline,
    FluxMultiControlNetModel,
)
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
    (control_map,) = control_maps_of(loaded, spec)
    return control_map


def control_maps_of(loaded: LoadedCheckpoint, spec: GenerationSpec) -> list[Image.Image]:
    """One for each control, each of a picture of its own."""
    size = spec.width, spec.height
    return [
        make_control_map(control.type, astronaut().rotate(90 * index), size, loaded.annotators)
        for index, control in enumerate(spec.all_controls)
    ]


@torch.inference_mode()
def ours(
    loaded: LoadedCheckpoint, spec: GenerationSpec, *control_maps: Image.Image
) -> list[Tensor]:
    """Latents of each picture of the request."""
    denoiser = prepare_denoiser(loaded, spec, control_maps)
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
    return _called(
        loaded,
        loaded.pipe,
        spec,
        seeds,
        control_image=control_map,
        control_mode=loaded.checkpoint.modes[spec.control],
        controlnet_conditioning_scale=spec.strength,
        control_guidance_end=controlled / spec.steps,
    )


def shipped_together(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    control_maps: Sequence[Image.Image],
    steps: Sequence[tuple[int, int]],
) -> Tensor:
    """One call of the pipeline with several controls of the one ControlNet. steps: the first step
    in which each of them counts, and the first one in which it does not any more."""
    controlnet = FluxMultiControlNetModel([loaded.pipe.controlnet])
    controls = spec.all_controls
    return _called(
        loaded,
        FluxControlNetPipeline(**{**loaded.pipe.components, "controlnet": controlnet}),
        spec,
        [spec.seed],
        control_image=list(control_maps),
        control_mode=[loaded.checkpoint.modes[control.type] for control in controls],
        controlnet_conditioning_scale=[control.strength for control in controls],
        control_guidance_start=[start / spec.steps for start, _ in steps],
        control_guidance_end=[end / spec.steps for _, end in steps],
    )


def _called(
    loaded: LoadedCheckpoint,
    pipe: FluxControlNetPipeline,
    spec: GenerationSpec,
    seeds: Sequence[int],
    **control: Any,
) -> Tensor:
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
            latents=latents,
            max_sequence_length=loaded.checkpoint.text_tokens,
            output_type="latent",
            **control,
        ).images
    return unpack(made, height, width)

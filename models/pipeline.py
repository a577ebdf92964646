"""One request from text and control picture to pixels: encode, schedule, sample, decode.

Uses the parts of diffusers' FluxControlNetPipeline (its encoders, autoencoder and networks) with a
denoising loop of our own, so that samplers are functions. Knows nothing of queues, files or the
wire. Pictures are sampled one at a time: picture i of a request is bit for bit the picture of a
single request with seed + i, whatever the device, and at FLUX's size a batch is not faster.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.autoencoder import LATENT_CHANNELS, LATENT_SCALE
from models.checkpoints import LoadedCheckpoint
from models.controls import make_control_map
from models.denoiser import ControlledDenoiser, image_ids
from models.errors import NonFiniteLatents, OutOfMemory
from models.finite import FiniteWatch
from models.flux.networks import ControlNet, Transformer
from models.flux.pace import Pace
from models.sampling import (
    SAMPLERS,
    initial_noise,
    noise_for,
    sigmas_for,
    steps_of,
)
from models.spec import GenerationSpec, image_seed
from models.step_cache import StepCache

OnStep = Callable[[int, int], None]
"""(steps done, steps in all), counted over all samples; may raise to stop the generation."""


@dataclass(frozen=True, slots=True)
class Generation:
    """pictures: uint8 RGB, [height, width, 3] each. evaluations: model calls of all pictures, of
    which `controlled` ran the ControlNet. profile: the one that was served.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    control_map: Image.Image
    evaluations: int
    controlled: int
    profile: str


@torch.inference_mode()
def generate(
    loaded: LoadedCheckpoint, spec: GenerationSpec, picture: Image.Image, on_step: OnStep
) -> Generation:
    """Make spec.samples pictures controlled by `picture` (any size; its map gets the spec's).

    Raises NonFiniteLatents rather than return a picture made of NaN, and OutOfMemory, after which
    the next request has the device's memory to itself again.
    """
    try:
        return _generate(loaded, spec, picture, on_step)
    except torch.OutOfMemoryError:
        pass  # the traceback holds the tensors: it must be gone before memory is given back
    gc.collect()
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemory((spec.width, spec.height), spec.samples)


def _generate(
    loaded: LoadedCheckpoint, spec: GenerationSpec, picture: Image.Image, on_step: OnStep
) -> Generation:
    size = spec.width, spec.height
    control_map = make_control_map(spec.control, picture, size, loaded.annotators)
    profile = loaded.networks.profile(spec.profile)
    denoiser = prepare_denoiser(loaded, spec, control_map)
    pictures = []
    for index in range(spec.samples):
        flow = StepCache(denoiser) if profile == "turbo" else denoiser
        watch = FiniteWatch(flow)
        latents = sample(watch, spec, index, loaded.device, on_step)
        pictures.append(loaded.autoencoder.decode(latents))
        # Only now: the pixels have been waited for, so these answers are there already.
        watch.raise_for(spec, latents)
    return Generation(
        tuple(pictures), control_map, denoiser.evaluations, denoiser.controlled, profile
    )


def prepare_denoiser(
    loaded: LoadedCheckpoint, spec: GenerationSpec, control_map: Image.Image
) -> ControlledDenoiser:
    """The model of all pictures of a request, with everything that they share computed."""
    networks = loaded.networks.of(loaded.networks.profile(spec.profile))
    text = loaded.text.encode(spec.prompt)
    ids = image_ids(*_latent_size(spec), loaded.device, loaded.dtype)
    controlnet = None
    if spec.strength > 0:
        controlnet = ControlNet(
            networks.controlnet,
            text,
            ids,
            spec.guidance,
            latents=loaded.autoencoder.encode(control_map),
            mode=loaded.checkpoint.modes[spec.control],
            strength=spec.strength,
        )
    transformer = Transformer(networks.transformer, text, ids, spec.guidance)
    return ControlledDenoiser(transformer, controlnet, spec.stop, spec.mu)


def sample(
    watch: FiniteWatch,
    spec: GenerationSpec,
    index: int,
    device: torch.device,
    on_step: OnStep,
) -> Tensor:
    """Latents of picture `index` of a request, float32; on a GPU they may still be in the making.

    Raises NonFiniteLatents where a sampler cannot go on; else ask watch.raise_for.
    """
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
    steps = steps_of(spec.sampler, sigmas)
    seed = image_seed(spec.seed, index)
    noise = initial_noise(seed, (1, LATENT_CHANNELS, *_latent_size(spec)))
    x = (sigmas[0] * noise).to(device)
    pace = Pace(device)

    def callback(step: int, _x: Tensor, _sigma: Tensor, _denoised: Tensor) -> None:
        watch.step = min(step + 2, steps)
        pace.step()
        on_step(index * steps + step + 1, spec.samples * steps)

    try:
        return SAMPLERS[spec.sampler](
            watch, x, sigmas, noise=noise_for(spec.sampler, seed, x, sigmas), callback=callback
        )
    except FloatingPointError:  # an adaptive sampler cannot go on with what is not finite
        raise NonFiniteLatents(spec.sampler, spec.schedule, watch.step, steps) from None


def _latent_size(spec: GenerationSpec) -> tuple[int, int]:
    return spec.height // LATENT_SCALE, spec.width // LATENT_SCALE

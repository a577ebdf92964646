"""One request from text and control picture to pixels: encode, schedule, sample, decode.

Uses the parts of diffusers' FluxControlNetPipeline (its encoders, autoencoder and networks) with a
denoising loop of our own, so that samplers are functions. Knows nothing of queues, files or the
wire. Pictures are sampled one at a time: picture i of a request is bit for bit the picture of a
single request with seed + i, whatever the device, and at FLUX's size a batch is not faster.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.autoencoder import LATENT_SCALE
from models.denoiser import ControlledDenoiser, image_ids
from models.errors import NonFiniteLatents, OutOfMemory
from models.evaluation_log import EvaluationLog, Made, Memory, NoResumeStore
from models.finite import FiniteWatch
from models.flux.gpu_pacing import Pace
from models.flux.networks import ControlNet, Transformer
from models.sampling import (
    SAMPLERS,
    initial_noise,
    noise_for,
    sigmas_for,
    steps_of,
)
from models.spec import GenerationSpec, image_seed
from models.step_cache import StepCache

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

OnStep = Callable[[int, int], None]
"""(steps done, steps in all), counted over all samples; may raise to stop the generation."""

OnSeen = Callable[[Tensor], None]
"""(the clean latents that the model sees in this step, [1, C, h, w]), before OnStep is called."""


@dataclass(frozen=True, slots=True)
class Generation:
    """profile: the one that was served."""

    made: tuple[Made, ...]
    control_map: Image.Image
    profile: str

    @property
    def pictures(self) -> tuple[NDArray[np.uint8], ...]:
        """uint8 RGB, [height, width, 3] each."""
        return tuple(made.pixels for made in self.made)

    @property
    def evaluations(self) -> int:
        """Model calls of all pictures."""
        return sum(made.evaluations for made in self.made)

    @property
    def controlled(self) -> int:
        """How many of them ran the ControlNet."""
        return sum(made.controlled for made in self.made)


@torch.inference_mode()
def generate(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    picture: Image.Image,
    on_step: OnStep,
    memory: Memory | None = None,
    *,
    annotated: bool = False,
    on_seen: OnSeen | None = None,
) -> Generation:
    """Make spec.samples pictures controlled by `picture` (any size; its map gets the spec's), or
    what is missing of them where `memory` has kept something of an earlier run. `annotated` when
    the picture is the control map, of the spec's size.

    Raises NonFiniteLatents rather than return a picture made of NaN, and OutOfMemory, after which
    the next request has the device's memory to itself again.
    """
    try:
        control_map = picture
        if not annotated:
            size = spec.width, spec.height
            control_map = loaded.control_maps.make(spec.control, picture, size)
        return _generate(loaded, spec, control_map, on_step, on_seen, memory or NoResumeStore())
    except torch.OutOfMemoryError:
        pass  # the traceback holds the tensors: it must be gone before memory is given back
    gc.collect()
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemory((spec.width, spec.height), spec.samples)


@torch.inference_mode()
def make_control_map(loaded: LoadedCheckpoint, control: str, picture: Image.Image) -> Image.Image:
    """The map of `picture` as generate() would use it for a picture of the same size."""
    return loaded.control_maps.make(control, picture, picture.size)


def _generate(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    control_map: Image.Image,
    on_step: OnStep,
    on_seen: OnSeen | None,
    memory: Memory,
) -> Generation:
    spec = replace(spec, profile=loaded.networks.profile(spec.profile))
    denoiser = prepare_denoiser(loaded, spec, control_map)
    made = []
    for index in range(spec.samples):
        kept = memory.made(index)
        made.append(kept or _picture(loaded, denoiser, spec, index, on_step, on_seen, memory))
    return Generation(tuple(made), control_map, spec.profile)


def _picture(
    loaded: LoadedCheckpoint,
    denoiser: ControlledDenoiser,
    spec: GenerationSpec,
    index: int,
    on_step: OnStep,
    on_seen: OnSeen | None,
    memory: Memory,
) -> Made:
    before = denoiser.evaluations, denoiser.controlled
    tape = EvaluationLog(denoiser, loaded.dtype, memory.answers(index))
    watch = FiniteWatch(StepCache(tape) if spec.profile == "turbo" else tape)

    def after_step(step: int, steps: int) -> None:
        memory.after_step(index, tape)
        on_step(index * steps + step, spec.samples * steps)

    latents = sample(watch, spec, index, loaded, after_step, on_seen)
    pixels = loaded.autoencoder.decode(latents)
    # Only now: the pixels have been waited for, so these answers are there already.
    watch.raise_for(spec, latents)
    made = Made(pixels, denoiser.evaluations - before[0], denoiser.controlled - before[1])
    memory.after_picture(index, made)
    return made


def prepare_denoiser(
    loaded: LoadedCheckpoint, spec: GenerationSpec, control_map: Image.Image
) -> ControlledDenoiser:
    """The model of all pictures of a request, with everything that they share computed."""
    networks = loaded.networks.of(spec.profile)
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
    loaded: LoadedCheckpoint,
    on_step: OnStep,
    on_seen: OnSeen | None = None,
) -> Tensor:
    """Latents of picture `index` of a request, float32; on a GPU they may still be in the making.
    on_step counts the steps of this picture.

    Raises NonFiniteLatents where a sampler cannot go on; else ask watch.raise_for.
    """
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
    steps = steps_of(spec.sampler, sigmas)
    seed = image_seed(spec.seed, index)
    noise = initial_noise(seed, (1, loaded.autoencoder.channels, *_latent_size(spec)))
    x = (sigmas[0] * noise).to(loaded.device)
    pace = Pace(loaded.device)

    def callback(step: int, _x: Tensor, _sigma: Tensor, denoised: Tensor) -> None:
        watch.step = min(step + 2, steps)
        pace.step()
        if on_seen is not None:
            on_seen(denoised)
        on_step(step + 1, steps)

    try:
        return SAMPLERS[spec.sampler](
            watch, x, sigmas, noise=noise_for(spec.sampler, seed, x, sigmas), callback=callback
        )
    except FloatingPointError:  # an adaptive sampler cannot go on with what is not finite
        raise NonFiniteLatents(spec.sampler, spec.schedule, watch.step, steps) from None


def _latent_size(spec: GenerationSpec) -> tuple[int, int]:
    return spec.height // LATENT_SCALE, spec.width // LATENT_SCALE

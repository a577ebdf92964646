"""Owns the generation of one request, from text and control picture to pixels.

Uses the encoders, autoencoder and networks of diffusers' FluxControlNetPipeline with its own
denoising loop, so that samplers are functions. Knows nothing of queues, files or the wire. Samples
one picture at a time: picture i of a request equals, bit for bit and on every device, the picture
of a single request with seed + i. At FLUX's size a batch would not be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.autoencoder import LATENT_SCALE
from models.denoiser import ControlledDenoiser, WindowedControl, image_ids
from models.errors import NonFiniteLatents
from models.evaluation_log import EvaluationLog, GeneratedImage, NoResumeStore, ResumeStore
from models.finite import FiniteWatch
from models.flux.gpu_pacing import Pace
from models.flux.networks import ControlNet, Transformer
from models.geometry import Size
from models.out_of_memory import for_any_size, within_memory
from models.sampling import (
    SAMPLERS,
    initial_noise,
    noise_for,
    sigmas_for,
    steps_of,
)
from models.spec import CANNY_HIGH, CANNY_LOW, GenerationSpec, image_seed
from models.step_cache import StepCache
from models.text import PromptCut

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

OnStep = Callable[[int, int], None]
"""(steps done, total steps), counted over all samples. It may raise to stop the generation."""

OnPrediction = Callable[[Tensor], object]
"""(predicted clean latents of this step, [1, C, h, w]). Called before OnStep."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of a request. control_maps: one for each of its controls, in their order.
    profile: the speed profile that was used. prompt_cuts: the encoders that
    did not read the whole prompt."""

    images: tuple[GeneratedImage, ...]
    control_maps: tuple[Image.Image, ...]
    profile: str
    prompt_cuts: tuple[PromptCut, ...] = ()

    @property
    def control_map(self) -> Image.Image:
        """That of the first control."""
        return self.control_maps[0]

    @property
    def pictures(self) -> tuple[NDArray[np.uint8], ...]:
        """uint8 RGB, [height, width, 3] each."""
        return tuple(image.pixels for image in self.images)

    @property
    def evaluations(self) -> int:
        """Model calls of all pictures."""
        return sum(image.evaluations for image in self.images)

    @property
    def controlled(self) -> int:
        """Runs of the ControlNet in them, one for each control in whose window an evaluation is."""
        return sum(image.controlled for image in self.images)


@torch.inference_mode()
def generate(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    picture: Image.Image | Sequence[Image.Image],
    on_step: OnStep,
    resume_store: ResumeStore | None = None,
    *,
    annotated: bool | Sequence[bool] = False,
    on_prediction: OnPrediction | None = None,
) -> Generation:
    """Generate spec.samples pictures controlled by `picture` (of any size; its map has the spec's
    size). Work that an earlier run left in `resume_store` is not repeated. `annotated`: the
    picture is the control map itself, of the spec's size.

    Both may be sequences with an entry for each of spec.all_controls; a single value holds for all.

    Raises NonFiniteLatents instead of returning a picture made of NaN, and OutOfMemory, after
    freeing the device's memory for the next request.
    """
    size = spec.width, spec.height
    spec = replace(spec, profile=loaded.networks.profile(spec.profile))
    controls = spec.all_controls
    pictures = [picture] * len(controls) if isinstance(picture, Image.Image) else picture
    are_maps = [annotated] * len(controls) if isinstance(annotated, bool) else annotated
    sources = list(zip(controls, pictures, are_maps, strict=True))

    def run() -> Generation:
        thresholds = spec.canny_low, spec.canny_high
        control_maps = tuple(
            source if is_map else _make_control_map(loaded, control.type, source, size, *thresholds)
            for control, source, is_map in sources
        )
        store = resume_store or NoResumeStore()
        return _generate(loaded, spec, control_maps, on_step, on_prediction, store)

    work = f"{size[0]}x{size[1]} with samples {spec.samples} in profile {spec.profile}"
    return within_memory(loaded.device, work, run)


@torch.inference_mode()
def make_control_map(
    loaded: LoadedCheckpoint,
    control: str,
    picture: Image.Image,
    canny_low: int = CANNY_LOW,
    canny_high: int = CANNY_HIGH,
) -> Image.Image:
    """The control map that generate() would use for `picture` at its own size. Raises OutOfMemory
    as generate() does."""

    def run() -> Image.Image:
        return _make_control_map(loaded, control, picture, picture.size, canny_low, canny_high)

    work = f"the {control} map of {picture.width}x{picture.height}"
    return within_memory(loaded.device, work, run)


def _make_control_map(
    loaded: LoadedCheckpoint,
    control: str,
    picture: Image.Image,
    size: Size,
    canny_low: int,
    canny_high: int,
) -> Image.Image:
    with for_any_size():  # the detectors work at a size of their own
        return loaded.control_maps.make(control, picture, size, canny_low, canny_high)


def _generate(
    loaded: LoadedCheckpoint,
    spec: GenerationSpec,
    control_maps: tuple[Image.Image, ...],
    on_step: OnStep,
    on_prediction: OnPrediction | None,
    store: ResumeStore,
) -> Generation:
    with for_any_size():
        layers = loaded.networks.of(spec.profile).layers
    images = []
    with loaded.adapters.applied(spec.loras, layers):
        denoiser = prepare_denoiser(loaded, spec, control_maps)
        for index in range(spec.samples):
            image = store.finished_image(index)
            if image is None:
                image = _generate_image(
                    loaded, denoiser, spec, index, on_step, on_prediction, store
                )
            images.append(image)
    return Generation(
        tuple(images), control_maps, spec.profile, prompt_cuts=loaded.text.cuts(spec.prompt)
    )


def _generate_image(
    loaded: LoadedCheckpoint,
    denoiser: ControlledDenoiser,
    spec: GenerationSpec,
    index: int,
    on_step: OnStep,
    on_prediction: OnPrediction | None,
    store: ResumeStore,
) -> GeneratedImage:
    evaluations_before, controlled_before = denoiser.evaluations, denoiser.controlled
    log = EvaluationLog(denoiser, loaded.dtype, store.recorded(index))
    watch = FiniteWatch(StepCache(log) if spec.profile == "turbo" else log)

    def after_step(step: int, steps: int) -> None:
        store.after_step(index, log)
        on_step(index * steps + step, spec.samples * steps)

    latents = sample(watch, spec, index, loaded, after_step, on_prediction)
    pixels = loaded.autoencoder.decode(latents)
    # After decode(), which has waited for the device: reading the flags costs no further wait.
    watch.raise_for(spec, latents)
    evaluations = denoiser.evaluations - evaluations_before
    image = GeneratedImage(pixels, evaluations, denoiser.controlled - controlled_before)
    store.after_image(index, image)
    return image


def prepare_denoiser(
    loaded: LoadedCheckpoint, spec: GenerationSpec, control_maps: Sequence[Image.Image]
) -> ControlledDenoiser:
    """The denoiser of a request, with everything computed that its pictures share. control_maps:
    one for each of spec.all_controls."""
    with for_any_size():
        networks = loaded.networks.of(spec.profile)
        text = loaded.text.encode(spec.prompt, loaded.adapters.of_text)
    ids = image_ids(*_latent_size(spec), loaded.device, loaded.dtype)
    # All maps are encoded first: that takes more memory than what is computed after it.
    encoded = [
        (control, loaded.autoencoder.encode(control_map))
        for control, control_map in zip(spec.all_controls, control_maps, strict=True)
        if control.strength > 0
    ]
    controls: list[WindowedControl] = []
    for control, latents in encoded:
        own = latents, loaded.checkpoint.modes[control.type], control.strength
        if controls:
            controlnet = controls[0].controlnet.beside(*own)
        else:
            controlnet = ControlNet(networks.controlnet, text, ids, spec.guidance, *own)
        controls.append(WindowedControl(controlnet, control.stop, control.start))
    transformer = Transformer(networks.transformer, text, ids, spec.guidance)
    return ControlledDenoiser(transformer, controls, spec.mu)


def sample(
    watch: FiniteWatch,
    spec: GenerationSpec,
    index: int,
    loaded: LoadedCheckpoint,
    on_step: OnStep,
    on_prediction: OnPrediction | None = None,
) -> Tensor:
    """Latents of picture `index` of a request, float32. A GPU may still be computing them.
    on_step counts the steps of this picture only.

    Raises NonFiniteLatents where a sampler cannot continue; call watch.raise_for in all other
    cases.
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
        if on_prediction is not None:
            on_prediction(denoised)
        on_step(step + 1, steps)

    try:
        return SAMPLERS[spec.sampler](
            watch, x, sigmas, noise=noise_for(spec.sampler, seed, x, sigmas), callback=callback
        )
    except FloatingPointError:  # an adaptive sampler cannot continue with NaN or infinity
        raise NonFiniteLatents(spec.sampler, spec.schedule, watch.step, steps) from None


def _latent_size(spec: GenerationSpec) -> tuple[int, int]:
    return spec.height // LATENT_SCALE, spec.width // LATENT_SCALE

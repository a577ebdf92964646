"""One request from text and control picture to pixels: encode, schedule, sample, decode.

A thin user of diffusers' FluxControlNetPipeline: its encoders, its autoencoder and its networks,
with a denoising loop of our own, so that samplers are functions. Knows nothing of queues, files
or the wire. Pictures are sampled one at a time: picture i of a request is bit for bit the picture
of a single request with seed + i, whatever the device, and at FLUX's size a batch is not faster.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.cache import Tensors
from models.checkpoints import LoadedCheckpoint
from models.controls import make_control_map
from models.denoiser import Control, ControlledDenoiser, TextConditioning, pack
from models.errors import NonFiniteLatents, OutOfMemory
from models.sampling import (
    SAMPLERS,
    Denoise,
    initial_noise,
    noise_for,
    sigmas_for,
    steps_of,
)
from models.spec import GenerationSpec, image_seed

LATENT_CHANNELS = 16
LATENT_SCALE = 8
MAX_TEXT_TOKENS = 512

OnStep = Callable[[int, int], None]
"""(steps done, steps in all), counted over all samples; may raise to stop the generation."""


@dataclass(frozen=True, slots=True)
class Generation:
    """pictures: uint8 RGB, [height, width, 3] each. evaluations: model calls of all pictures, of
    which `controlled` ran the ControlNet."""

    pictures: tuple[NDArray[np.uint8], ...]
    control_map: Image.Image
    evaluations: int
    controlled: int


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
    text = encode_text(loaded, spec.prompt)
    control = encode_control(loaded, spec, control_map)
    pictures = []
    evaluations = controlled = 0
    for index in range(spec.samples):
        denoiser = ControlledDenoiser(loaded.pipe, text, control, spec.guidance, _latent_size(spec))
        latents = sample(denoiser, spec, index, loaded.device, on_step)
        pictures.append(decode(loaded, latents))
        evaluations += denoiser.evaluations
        controlled += denoiser.controlled
    return Generation(tuple(pictures), control_map, evaluations, controlled)


def encode_text(loaded: LoadedCheckpoint, prompt: str) -> TextConditioning:
    """CLIP's pooled vector and T5's 512 token embeddings of `prompt`; kept for the next request."""

    def encode() -> Tensors:
        embeds, pooled, ids = loaded.pipe.encode_prompt(
            prompt, None, device=loaded.device, max_sequence_length=MAX_TEXT_TOKENS
        )
        return embeds, pooled, ids

    return TextConditioning(*loaded.prompts.get(prompt, encode))


def encode_control(
    loaded: LoadedCheckpoint, spec: GenerationSpec, control_map: Image.Image
) -> Control:
    """The control map in the ControlNet's terms; the latents are kept for the next request.

    The mean of the autoencoder's posterior is used, not a draw from it: the same map means the
    same control for every seed and every sample.
    """
    vae = loaded.pipe.vae

    def encode() -> Tensors:
        # Contiguous, as the shipped pipeline has it: another layout sums in another order.
        pixels = loaded.pipe.image_processor.preprocess(control_map).contiguous()
        posterior = vae.encode(pixels.to(loaded.device, vae.dtype)).latent_dist
        latents = (posterior.mode() - vae.config.shift_factor) * vae.config.scaling_factor
        return (pack(latents.to(loaded.dtype)),)

    content = control_map.size, hashlib.sha256(control_map.tobytes()).digest()
    (latents,) = loaded.control_latents.get(content, encode)
    mode = loaded.checkpoint.modes[spec.control]
    return Control(
        latents=latents,
        mode=torch.tensor([[mode]], device=loaded.device),
        strength=spec.strength,
        stop=spec.stop,
        mu=spec.mu,
    )


def sample(
    denoiser: ControlledDenoiser,
    spec: GenerationSpec,
    index: int,
    device: torch.device,
    on_step: OnStep,
) -> Tensor:
    """Latents of picture `index` of a request, float32."""
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
    steps = steps_of(spec.sampler, sigmas)
    seed = image_seed(spec.seed, index)
    noise = initial_noise(seed, (1, LATENT_CHANNELS, *_latent_size(spec)))
    x = (sigmas[0] * noise).to(device)
    watch = _FiniteWatch(denoiser)

    def callback(step: int, _x: Tensor, _sigma: Tensor, _denoised: Tensor) -> None:
        watch.step = min(step + 2, steps)
        on_step(index * steps + step + 1, spec.samples * steps)

    try:
        x = SAMPLERS[spec.sampler](
            watch, x, sigmas, noise=noise_for(spec.sampler, seed, x, sigmas), callback=callback
        )
    except FloatingPointError:  # an adaptive sampler cannot go on with what is not finite
        raise NonFiniteLatents(spec.sampler, spec.schedule, watch.step, steps) from None
    bad_step = watch.first_bad_step(x)
    if bad_step is not None:
        raise NonFiniteLatents(spec.sampler, spec.schedule, bad_step, steps)
    return x


class _FiniteWatch:
    """Notes, beside every model evaluation, whether it was finite and in which step (from 1) it
    was made. The notes stay on the device until the end: reading them would stall the GPU.
    """

    def __init__(self, denoise: Denoise) -> None:
        self._denoise = denoise
        self._notes: list[tuple[int, Tensor]] = []
        self.step = 1

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        denoised = self._denoise(x, sigma)
        self._notes.append((self.step, torch.isfinite(denoised).all()))
        return denoised

    def first_bad_step(self, x: Tensor) -> int | None:
        """The step of the first evaluation that was not finite; the last one when only the end
        result `x` is not."""
        notes = [*self._notes, (self.step, torch.isfinite(x).all())]
        healthy = torch.stack([finite for _, finite in notes]).tolist()
        return next(
            (step for (step, _), good in zip(notes, healthy, strict=True) if not good), None
        )


def decode(loaded: LoadedCheckpoint, latents: Tensor) -> NDArray[np.uint8]:
    """Latents to pixels; scaled and rounded on the device, so that only bytes leave it."""
    vae = loaded.pipe.vae
    scaled = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
    decoded = vae.decode(scaled, return_dict=False)[0]
    unit = (decoded.float() * 0.5 + 0.5).clamp(0, 1)
    pixels: NDArray[np.uint8] = (
        (unit * 255).round().to(torch.uint8)[0].permute(1, 2, 0).cpu().numpy()
    )
    return pixels


def _latent_size(spec: GenerationSpec) -> tuple[int, int]:
    return spec.height // LATENT_SCALE, spec.width // LATENT_SCALE

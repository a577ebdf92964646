"""Stage 3: the transformer with both text encoders, on rectified flow.

Owns the loss and the mixture of sizes. Sigmas are logit-normal (Esser et al., arXiv 2403.03206),
some prompts are left out, and guidance is drawn at random: nothing is distilled into it, so every
value a request may give works alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from models.denoiser import image_ids, pack
from models.spec import DEFAULT_MU
from scripts.demotraining.lessons import Lessons, Words
from scripts.demotraining.networks import TextEncoders

_LEFT_OUT = 0.08
_TEXTURES = 0.08
"""Shares of prompts that are dropped and of pictures that are no scenes."""

_SIGMA_MEAN = DEFAULT_MU
"""Of the logit: the server's schedules are shifted by as much, and colours and places are decided
where there is hardly anything but noise. With 0.4 no thing got the colour of its name."""

_GUIDANCE = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """Until which share of the budget which sets are used, each with its batch and its share."""

    until: float
    sets: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of one set: `rows` of it, noise and sigmas, and what the networks are told."""

    lessons: Lessons
    rows: Tensor
    clean: Tensor
    noise: Tensor
    sigmas: Tensor
    guidance: Tensor
    clip_ids: Tensor
    t5_ids: Tensor

    @property
    def noisy(self) -> Tensor:
        sigmas = self.sigmas[:, None, None, None]
        return (1 - sigmas) * self.clean + sigmas * self.noise

    def told(self, pooled: Tensor, embeds: Tensor) -> dict[str, Tensor]:
        """What transformer and ControlNet are told about the batch."""
        tokens = pack(self.noisy)
        return told(tokens, self.noise.shape, self.sigmas, self.guidance, pooled, embeds)

    @property
    def velocity(self) -> Tensor:
        """What the transformer must answer, packed."""
        return pack(self.noise - self.clean)


class Flow(nn.Module):
    """The trained part of the stage: transformer and text encoders."""

    def __init__(self, transformer: FluxTransformer2DModel, text: TextEncoders) -> None:
        super().__init__()
        self.transformer, self.text = transformer, text

    def forward(self, batch: Batch, **residuals: object) -> Tensor:
        """Velocity tokens."""
        pooled, embeds = self.text(batch.clip_ids, batch.t5_ids)
        velocity: Tensor = self.transformer(
            **batch.told(pooled, embeds), **residuals, return_dict=False
        )[0]
        return velocity


def told(
    tokens: Tensor,
    shape: torch.Size,
    sigmas: Tensor,
    guidance: Tensor,
    pooled: Tensor,
    embeds: Tensor,
) -> dict[str, Tensor]:
    """The arguments that transformer and ControlNet share; shape: of the latents in `tokens`."""
    return {
        "hidden_states": tokens,
        "encoder_hidden_states": embeds,
        "pooled_projections": pooled,
        "timestep": sigmas,
        "guidance": guidance,
        "img_ids": image_ids(shape[-2], shape[-1], tokens.device, torch.float32),
        "txt_ids": torch.zeros(embeds.shape[1], 3, device=tokens.device),
    }


class FlowLoss:
    """Squared distance to the velocity."""

    def __init__(
        self, flow: Flow, sets: dict[str, Lessons], phases: tuple[Phase, ...], words: Words
    ) -> None:
        self._flow, self._sets, self._phases = flow, sets, phases
        self._silence = words([""])

    def __call__(self, rng: np.random.Generator, passed: float) -> Tensor:
        name, size = choose_set(rng, self._phases, passed)
        lessons = self._sets[name]
        textures = rng.random(size) < _TEXTURES
        total = len(lessons.latents)
        rows = np.where(
            textures,
            rng.integers(lessons.scenes, total, size),
            rng.integers(0, lessons.scenes, size),
        )
        batch = make_batch(rng, lessons, rows, self._silence, self._flow.transformer.device)
        with torch.autocast(batch.noise.device.type, torch.bfloat16):
            velocity = self._flow(batch)
        return ((velocity.float() - batch.velocity) ** 2).mean()


def choose_set(
    rng: np.random.Generator, phases: tuple[Phase, ...], passed: float
) -> tuple[str, int]:
    """The name of a set and the size of its batch."""
    phase = next(one for one in phases if passed <= one.until)
    names, sizes, shares = zip(*phase.sets, strict=True)
    index = int(rng.choice(len(names), p=np.array(shares) / sum(shares)))
    return names[index], sizes[index]


def make_batch(
    rng: np.random.Generator,
    lessons: Lessons,
    rows: np.ndarray,
    silence: tuple[Tensor, Tensor],
    device: torch.device,
) -> Batch:
    """Rows of a set with noise (from torch's generator), sigmas and prompts."""
    chosen = torch.from_numpy(rows)
    clean = lessons.latents[chosen].float()
    count = len(rows)
    # Spread over the distribution instead of drawn from it: less noise in the loss.
    places = (torch.randperm(count) + torch.rand(count)) / count
    logits = _SIGMA_MEAN + 2**0.5 * torch.erfinv((2 * places - 1).clamp(-0.9999, 0.9999))
    dropped = torch.from_numpy(rng.random(count) < _LEFT_OUT)[:, None]
    low, high = _GUIDANCE
    return Batch(
        lessons,
        chosen,
        clean.to(device),
        torch.randn_like(clean).to(device),
        torch.sigmoid(logits).to(device),
        (low + (high - low) * torch.rand(count)).to(device),
        torch.where(dropped, silence[0], lessons.clip_ids[chosen]).to(device),
        torch.where(dropped, silence[1], lessons.t5_ids[chosen]).to(device),
    )

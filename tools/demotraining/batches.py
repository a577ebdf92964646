"""Draws the training batches of the transformer and the ControlNet.

A batch has pictures of one size, noise, sigmas, prompts, and control maps for some pictures. Owns
the mixture of sizes and control types. Sigmas are logit-normal (Esser et al., arXiv 2403.03206),
some prompts are dropped, and guidance is random: nothing is distilled into it, so every value of a
request has the same effect. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.denoiser import image_ids, pack
from tools.demotraining.lessons import Lessons

PLAIN = "plain"
"""Stands for a control type: a picture without a map."""

Shares = dict[str, float]
"""Control types (and PLAIN) -> shares of a batch; they add up to 1."""

_LEFT_OUT = 0.08
"""Share of prompts that are dropped."""

_TEXTURES = {PLAIN: 0.08, "tile": 0.5, "canny": 0.25}
"""The shares of textures (pictures without a scene) among the pictures of a type."""

_SIGMA_LOGIT = 1.5, 1.4
"""Mean and deviation: higher and wider than usual, as the server's schedules are. The colours of
large plain things, and the effect of the prompt, are decided at high noise levels."""

_GUIDANCE = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """(end, as a share of the budget) -> the sets in use, each with its batch size and share."""

    until: float
    sets: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`count` pictures of one size with noise, sigmas and the inputs of the networks.

    clean, noise, shown: latents [B, C, h, w]; `shown` are those of the control maps, 0 where
    `controls` says PLAIN.
    """

    controls: tuple[str, ...]
    clean: Tensor
    noise: Tensor
    shown: Tensor
    sigmas: Tensor
    guidance: Tensor
    clip_ids: Tensor
    t5_ids: Tensor

    @property
    def noisy(self) -> Tensor:
        sigmas = self.sigmas[:, None, None, None]
        return (1 - sigmas) * self.clean + sigmas * self.noise

    def network_inputs(self, pooled: Tensor, embeds: Tensor) -> dict[str, Tensor]:
        """The arguments of transformer and ControlNet for the batch."""
        tokens = pack(self.noisy)
        return network_inputs(tokens, self.noise.shape, self.sigmas, self.guidance, pooled, embeds)

    @property
    def velocity(self) -> Tensor:
        """The target of the transformer, packed."""
        return pack(self.noise - self.clean)


def network_inputs(
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


@dataclass(frozen=True, slots=True)
class Batches:
    """Draws batches. sets: name -> pictures of one size. silence: the tokens of no prompt."""

    sets: dict[str, Lessons]
    phases: tuple[Phase, ...]
    shares: Shares
    silence: tuple[Tensor, Tensor]
    device: torch.device

    def draw(self, rng: np.random.Generator, passed: float) -> Batch:
        """`passed`: the share of the budget that has passed. Noise is of torch's generator."""
        phase = next(one for one in self.phases if passed <= one.until)
        names, sizes, shares = zip(*phase.sets, strict=True)
        index = int(rng.choice(len(names), p=np.array(shares) / sum(shares)))
        lessons, count = self.sets[names[index]], sizes[index]
        controls = rng.choice(list(self.shares), size=count, p=list(self.shares.values()))
        picked = [_pick(rng, lessons, str(control)) for control in controls]
        rows = torch.tensor([row for row, _ in picked])
        clean = lessons.latents[rows].float()
        dropped = torch.from_numpy(rng.random(count) < _LEFT_OUT)[:, None]
        low, high = _GUIDANCE
        return Batch(
            tuple(map(str, controls)),
            clean.to(self.device),
            torch.randn_like(clean).to(self.device),
            torch.stack([latents for _, latents in picked]).float().to(self.device),
            _draw_sigmas(count).to(self.device),
            (low + (high - low) * torch.rand(count)).to(self.device),
            torch.where(dropped, self.silence[0], lessons.clip_ids[rows]).to(self.device),
            torch.where(dropped, self.silence[1], lessons.t5_ids[rows]).to(self.device),
        )


def _draw_sigmas(count: int) -> Tensor:
    """Spread over the distribution instead of drawn from it: less noise in the loss."""
    places = (torch.randperm(count) + torch.rand(count)) / count
    normal = 2**0.5 * torch.erfinv((2 * places - 1).clamp(-0.9999, 0.9999))
    mean, deviation = _SIGMA_LOGIT
    return torch.sigmoid(mean + deviation * normal)


def _pick(rng: np.random.Generator, lessons: Lessons, control: str) -> tuple[int, Tensor]:
    """A row of the set and the latents of its control map. A tile is the picture itself."""
    texture = rng.random() < _TEXTURES.get(control, 0.0)
    if control in (PLAIN, "tile"):
        first, last = (lessons.scenes, len(lessons.latents)) if texture else (0, lessons.scenes)
        row = int(rng.integers(first, last))
        picture = lessons.latents[row]
        return row, picture if control == "tile" else torch.zeros_like(picture)
    rows = lessons.mapped[control]
    # Textures come last; only canny has them.
    border = int((rows < lessons.scenes).sum())
    first, last = (border, len(rows)) if texture else (0, border)
    place = int(rng.integers(first, last))
    return int(rows[place]), lessons.maps[control][place]

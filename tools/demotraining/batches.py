"""Draws the training batches of the transformer and the ControlNet.

A batch has pictures of one size, noise, sigmas, prompts, and control maps for some pictures. Owns
the distributions of all of them but the mixture of control types. Sigmas are logit-normal (Esser et
al., arXiv 2403.03206), and some prompts are dropped. Guidance is the contrast of the picture, as
pictures of guided models have more contrast the stronger their guidance is. Knows no network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.denoiser import image_ids, pack
from tools.demotraining.lessons import Lessons
from tools.demotraining.mixtures import Controls, Mixture

_LEFT_OUT = 0.08
"""Share of prompts that are dropped."""

_SIGMA_LOGIT = 1.5, 1.4
"""Mean and deviation: higher and wider than usual, as the server's schedules are. The colours of
large plain things, and the effect of the prompt, are decided at high noise levels."""

_TEXTURE_SIGMA = 0.8
"""Factor on the sigma of a texture without a map: at the highest sigmas nothing announces it, and
the prompt may be that of a scene."""

_GUIDANCE = 1.0, 15.0
_DEFAULT_GUIDANCE = 3.5
_AT_DEFAULT = 0.3
"""Share of pictures with the default guidance; the others spread over the range's logarithm."""

_CONTRAST = 0.22
"""How much contrast guidance adds in e times as much of it; the default adds none."""

_PLACES = 64
"""Tokens of the largest side (1024 pixels)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """(end, as a share of the budget) -> the sets in use, each with its batch size and share."""

    until: float
    sets: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one size with noise, sigmas and the inputs of the networks.

    controls: of each picture. clean, noise: latents [B, C, h, w]. shown: latents of the control
    maps, [M, B, C, h, w] for at most M maps a picture, 0 where a picture has fewer. strengths:
    [M, B], also 0 there. corner: row and column of the first token.
    """

    controls: tuple[Controls, ...]
    clean: Tensor
    noise: Tensor
    shown: Tensor
    strengths: Tensor
    sigmas: Tensor
    guidance: Tensor
    clip_ids: Tensor
    t5_ids: Tensor
    corner: tuple[int, int]

    @property
    def noisy(self) -> Tensor:
        sigmas = self.sigmas[:, None, None, None]
        return (1 - sigmas) * self.clean + sigmas * self.noise

    def network_inputs(self, pooled: Tensor, embeds: Tensor) -> dict[str, Tensor]:
        """The arguments of transformer and ControlNet for the batch."""
        inputs = network_inputs(
            pack(self.noisy), self.noise.shape, self.sigmas, self.guidance, pooled, embeds
        )
        inputs["img_ids"][:, 1:] += torch.tensor(self.corner, device=self.noise.device)
        return inputs

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


def contrast(guidance: Tensor) -> Tensor:
    """The contrast of pictures for a guidance: 0.72 at 1, 1 at the default, 1.32 at 15."""
    return 1 + _CONTRAST * (guidance / _DEFAULT_GUIDANCE).log()


@dataclass(frozen=True, slots=True)
class Batches:
    """Draws batches. sets: name -> pictures of one size. silence: the tokens of no prompt."""

    sets: dict[str, Lessons]
    phases: tuple[Phase, ...]
    mixture: Mixture
    silence: tuple[Tensor, Tensor]
    device: torch.device

    def draw(self, rng: np.random.Generator, passed: float) -> Batch:
        """`passed`: the share of the budget that has passed. Noise is of torch's generator."""
        phase = next(one for one in self.phases if passed <= one.until)
        names, sizes, shares = zip(*phase.sets, strict=True)
        index = int(rng.choice(len(names), p=np.array(shares) / sum(shares)))
        lessons, count = self.sets[names[index]], sizes[index]
        controls = self.mixture.draw(rng, count)
        rows = torch.tensor([self._row(rng, lessons, one) for one in controls])
        guidance = _draw_guidance(count)
        picture = lessons.latents[rows].float()
        clean = lessons.grey + contrast(guidance)[:, None, None, None] * (picture - lessons.grey)
        shown, strengths = self._shown(rng, lessons, controls, rows)
        unannounced = (rows >= lessons.scenes) & (strengths.sum(dim=0) == 0)
        sigmas = _draw_sigmas(count) * torch.where(unannounced, _TEXTURE_SIGMA, 1.0)
        dropped = torch.from_numpy(rng.random(count) < _LEFT_OUT)[:, None]
        return Batch(
            tuple(controls),
            clean.to(self.device),
            torch.randn_like(clean).to(self.device),
            shown.to(self.device),
            strengths.to(self.device),
            sigmas.to(self.device),
            guidance.to(self.device),
            torch.where(dropped, self.silence[0], lessons.clip_ids[rows]).to(self.device),
            torch.where(dropped, self.silence[1], lessons.t5_ids[rows]).to(self.device),
            self._corner(rng, clean.shape),
        )

    def _row(self, rng: np.random.Generator, lessons: Lessons, controls: Controls) -> int:
        """A picture that has these maps: a scene, or a texture as often as the mixture says."""
        rows = lessons.rows_with(controls)
        scenes = int(np.searchsorted(rows, lessons.scenes))
        texture = rng.random() < self.mixture.textures.get(controls, 0.0)
        return int(rng.choice(rows[scenes:] if texture else rows[:scenes]))

    def _shown(
        self, rng: np.random.Generator, lessons: Lessons, controls: list[Controls], rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        most = max(1, *map(len, controls))
        shown = torch.zeros(most, len(controls), *lessons.latents.shape[1:])
        strengths = torch.zeros(most, len(controls))
        for place, (row, wanted) in enumerate(zip(rows.tolist(), controls, strict=True)):
            for index, control in enumerate(wanted):
                shown[index, place] = lessons.map_of(control, row).float()
                strengths[index, place] = rng.uniform(*self.mixture.strengths)
        return shown, strengths

    def _corner(self, rng: np.random.Generator, shape: torch.Size) -> tuple[int, int]:
        if rng.random() >= self.mixture.moved:
            return 0, 0
        rows, columns = (int(rng.integers(0, _PLACES - side // 2 + 1)) for side in shape[-2:])
        return rows, columns


def _draw_guidance(count: int) -> Tensor:
    low, high = map(math.log, _GUIDANCE)
    spread = (low + (high - low) * torch.rand(count)).exp()
    return torch.where(torch.rand(count) < _AT_DEFAULT, _DEFAULT_GUIDANCE, spread)


def _draw_sigmas(count: int) -> Tensor:
    """Spread over the distribution instead of drawn from it: less noise in the loss."""
    places = (torch.randperm(count) + torch.rand(count)) / count
    normal = 2**0.5 * torch.erfinv((2 * places - 1).clamp(-0.9999, 0.9999))
    mean, deviation = _SIGMA_LOGIT
    return torch.sigmoid(mean + deviation * normal)

"""FLUX's transformer and its Union ControlNet as functions of (tokens, sigma).

Owns their forward pass. diffusers' forward computes some values in every call that are constant for
a request. Here they are computed once: text, mode and control projections, rotary tables, guidance
and pooled text embeddings. The time embedding is computed once per sigma. The operations are those
of diffusers (transformer_flux.py, controlnet_flux.py), so the results are equal bit for bit. Their
order is too, but each residual is made right after its block, which saves memory. Knows no sampler
and no control window.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.sampling import single

if TYPE_CHECKING:
    from diffusers import FluxControlNetModel, FluxTransformer2DModel

TIME_STEPS = 1000
"""FLUX's networks count time from 0 to 1000."""


@dataclass(frozen=True, slots=True)
class TextConditioning:
    """The text encoders' results for a prompt: embeds [1, L, D], pooled [1, P], ids [L, 3]."""

    embeds: Tensor
    pooled: Tensor
    ids: Tensor


@dataclass(frozen=True, slots=True)
class Residuals:
    """The ControlNet's residuals, added to the image tokens after the double and single
    blocks of the transformer. Each list is shorter, because consecutive blocks share a residual, or
    empty."""

    double: list[Tensor]
    single: list[Tensor]


class _Conditioned:
    """A network with its constant inputs of a request, that is all but tokens and sigma.

    text: [1, L, width], the projected embeddings. rotary: cosine and sine tables of all tokens.
    """

    def __init__(
        self, network: Any, text: TextConditioning, image_ids: Tensor, guidance: float
    ) -> None:
        self._network = network
        self._embed = network.time_text_embed
        self._like = text.pooled
        self.text: Tensor = network.context_embedder(text.embeds)
        self.rotary: tuple[Tensor, Tensor] = network.pos_embed(torch.cat((text.ids, image_ids)))
        self._pooled: Tensor = self._embed.text_embedder(text.pooled)
        # A model without guidance distillation has no guidance input.
        self._guidance: Tensor | None = None
        if network.config.guidance_embeds:
            scaled = self._filled(guidance) * TIME_STEPS
            self._guidance = self._embed.guidance_embedder(self._waves(scaled))
        self._embeddings: dict[float, Tensor] = {}

    def embedding(self, sigma: float) -> Tensor:
        """[1, width]: the input of every block's modulation at this sigma."""
        if sigma not in self._embeddings:
            # As in diffusers' pipelines, round the time to the model's dtype before the division.
            time = self._filled(single(sigma * TIME_STEPS)) / TIME_STEPS * TIME_STEPS
            embedded = self._embed.timestep_embedder(self._waves(time))
            if self._guidance is not None:
                embedded = embedded + self._guidance
            self._embeddings[sigma] = embedded + self._pooled
        return self._embeddings[sigma]

    def _filled(self, value: float) -> Tensor:
        # A fill, not a copy from the host: a copy would wait for all queued work.
        return torch.full((1,), value, device=self._like.device, dtype=self._like.dtype)

    def _waves(self, time: Tensor) -> Tensor:
        waves: Tensor = self._embed.time_proj(time)
        return waves.to(self._like.dtype)


class ControlNet(_Conditioned):
    """(tokens, sigma) -> Residuals, for one control map, one mode and one strength.

    A request with several controls makes the first one and calls its beside() for the others.
    """

    def __init__(
        self,
        network: FluxControlNetModel,
        text: TextConditioning,
        image_ids: Tensor,
        guidance: float,
        latents: Tensor,
        mode: int | None,
        strength: float,
    ) -> None:
        """latents: packed latents of the control map, [1, tokens, 4 * channels]. mode: index of a
        Union ControlNet's mode embedding, None where it has none. strength: factor on every
        residual, 0..2."""
        if mode is not None:  # the mode is one more text token, at the first position
            text = replace(text, ids=torch.cat((text.ids[:1], text.ids)))
        super().__init__(network, text, image_ids, guidance)
        self.text = self._with_mode(self.text, mode)
        self._latents, self._strength = latents, strength
        self._control: Tensor | None = network.controlnet_x_embedder(latents)

    def beside(self, latents: Tensor, mode: int | None, strength: float) -> ControlNet:
        """The same network with another control map of the same request. Shares what depends on
        the prompt, the size and sigma alone, and adds nothing large to the request's memory."""
        other = copy.copy(self)
        other.text = self._with_mode(self.text if mode is None else self.text[:, 1:], mode)
        other._latents, other._strength = latents, strength
        # Kept, each one would take 24 bytes a pixel, which the memory plans reserve once. Making
        # it takes a ten-thousandth of the ControlNet's time.
        other._control = None
        return other

    def _embedded_map(self) -> Tensor:
        if self._control is not None:
            return self._control
        embedded: Tensor = self._network.controlnet_x_embedder(self._latents)
        return embedded

    def _with_mode(self, text: Tensor, mode: int | None) -> Tensor:
        if mode is None:
            return text
        index = torch.full((1, 1), mode, device=text.device, dtype=torch.long)
        return torch.cat((self._network.controlnet_mode_embedder(index), text), dim=1)

    def __call__(self, tokens: Tensor, sigma: float, onto: Residuals | None = None) -> Residuals:
        """onto: the residuals of the controls before this one, which are added in place: a second
        set would take as much memory again."""
        network, text, embedding = self._network, self.text, self.embedding(sigma)
        hidden = network.x_embedder(tokens) + self._embedded_map()
        residuals = Residuals([], []) if onto is None else onto
        for blocks, layers, added in (
            (network.transformer_blocks, network.controlnet_blocks, residuals.double),
            (
                network.single_transformer_blocks,
                network.controlnet_single_blocks,
                residuals.single,
            ),
        ):
            for index, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
                text, hidden = block(
                    hidden_states=hidden,
                    encoder_hidden_states=text,
                    temb=embedding,
                    image_rotary_emb=self.rotary,
                )
                # At once: the outputs of all blocks would take as much memory as the residuals.
                if onto is None:
                    added.append(layer(hidden) * self._strength)
                else:
                    added[index] += layer(hidden) * self._strength
        return residuals


class Transformer(_Conditioned):
    """(tokens, sigma, residuals) -> velocity tokens [1, tokens, 4 * channels]."""

    _network: FluxTransformer2DModel

    def __call__(self, tokens: Tensor, sigma: float, residuals: Residuals | None) -> Tensor:
        network, text, embedding = self._network, self.text, self.embedding(sigma)
        hidden = network.x_embedder(tokens)
        for blocks, added in (
            (network.transformer_blocks, residuals.double if residuals else ()),
            (network.single_transformer_blocks, residuals.single if residuals else ()),
        ):
            share = math.ceil(len(blocks) / len(added)) if added else 1
            for index, block in enumerate(blocks):
                text, hidden = block(
                    hidden_states=hidden,
                    encoder_hidden_states=text,
                    temb=embedding,
                    image_rotary_emb=self.rotary,
                )
                if added:
                    hidden = hidden + added[index // share]
        velocity: Tensor = network.proj_out(network.norm_out(hidden, embedding))
        return velocity

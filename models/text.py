"""Prompts to what FLUX is conditioned on: CLIP's pooled vector and T5's token embeddings.

Owns the memory of encoded prompts. Knows no network but the two encoders.
"""

from __future__ import annotations

import torch
from diffusers import FluxControlNetPipeline

from models.cache import TensorCache, Tensors
from models.flux.networks import TextConditioning

MAX_TOKENS = 512
"""T5 tokens of a prompt, padding included: what FLUX.1-dev was trained with."""


class TextEncoders:
    """The text half of a FluxControlNetPipeline with the prompts it has encoded."""

    def __init__(
        self, pipe: FluxControlNetPipeline, device: torch.device, cache: TensorCache
    ) -> None:
        self._pipe, self._device, self._cache = pipe, device, cache

    def encode(self, prompt: str) -> TextConditioning:
        """The conditioning of `prompt`, cut off after 512 tokens; kept for the next request."""

        def encode() -> Tensors:
            embeds, pooled, ids = self._pipe.encode_prompt(
                prompt, None, device=self._device, max_sequence_length=MAX_TOKENS
            )
            return embeds, pooled, ids

        return TextConditioning(*self._cache.get(prompt, encode))

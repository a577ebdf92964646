"""Encodes prompts into FLUX's conditioning: CLIP's pooled vector and T5's token embeddings.

Owns the cache of encoded prompts. Knows no network but the two encoders.
"""

from __future__ import annotations

import torch
from diffusers import FluxControlNetPipeline

from models.cache import TensorCache, Tensors
from models.flux.networks import TextConditioning


class TextEncoders:
    """The text encoders of a FluxControlNetPipeline with a cache of encoded prompts.

    tokens: T5 tokens per prompt, padding included, as in the checkpoint's training.
    """

    def __init__(
        self,
        pipe: FluxControlNetPipeline,
        device: torch.device,
        cache: TensorCache,
        tokens: int = 512,
    ) -> None:
        self._pipe, self._device, self._cache, self._tokens = pipe, device, cache, tokens

    def encode(self, prompt: str) -> TextConditioning:
        """The conditioning of `prompt`, truncated to `tokens`. The result is cached."""

        def encode() -> Tensors:
            embeds, pooled, ids = self._pipe.encode_prompt(
                prompt, None, device=self._device, max_sequence_length=self._tokens
            )
            return embeds, pooled, ids

        return TextConditioning(*self._cache.get(prompt, encode))

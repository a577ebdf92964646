"""Encodes prompts into FLUX's conditioning: CLIP's pooled vector and T5's token embeddings.

Owns the cache of encoded prompts. Knows no network but the two encoders.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.cache import TensorCache, Tensors
from models.flux.networks import TextConditioning

if TYPE_CHECKING:
    from diffusers import FluxControlNetPipeline


@dataclass(frozen=True, slots=True)
class PromptCut:
    """A prompt of which an encoder read only a part. encoder: CLIP or T5. used, total: tokens, with
    the marks that the encoder adds at the ends."""

    encoder: str
    used: int
    total: int


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

    def encode(self, prompt: str, loras: Hashable = None) -> TextConditioning:
        """The conditioning of `prompt`, truncated to `tokens`. The result is cached.

        loras: identifies the LoRAs that CLIP has at the time of the call; None if it has none.
        """

        def encode() -> Tensors:
            embeds, pooled, ids = self._pipe.encode_prompt(
                prompt, None, device=self._device, max_sequence_length=self._tokens
            )
            return embeds, pooled, ids

        return TextConditioning(*self._cache.get((prompt, loras), encode))

    def cuts(self, prompt: str) -> tuple[PromptCut, ...]:
        """The encoders that do not read all of `prompt`."""
        limits = (
            ("CLIP", self._pipe.tokenizer, self._pipe.tokenizer_max_length),
            ("T5", self._pipe.tokenizer_2, self._tokens),
        )
        totals = (
            (encoder, most, len(tokenizer(prompt, verbose=False).input_ids))
            for encoder, tokenizer, most in limits
        )
        return tuple(
            PromptCut(encoder, most, total) for encoder, most, total in totals if total > most
        )

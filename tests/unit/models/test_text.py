"""Prompts of any length: the tokens of each encoder, and one encoding per prompt."""

from __future__ import annotations

import pytest
import torch

from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.text import PromptCut, TextEncoders

pytestmark = pytest.mark.torch

LONG = "red " * 100
"""More words than CLIP's 77 tokens."""


def encoders(stand_in: LoadedCheckpoint, tokens: int) -> TextEncoders:
    return TextEncoders(stand_in.pipe, stand_in.device, TensorCache(1024**2), tokens)


@pytest.mark.parametrize("tokens", [1, 48, 77, 512])
@torch.inference_mode()
def test_a_prompt_has_the_tokens_of_its_checkpoint(stand_in: LoadedCheckpoint, tokens: int) -> None:
    made = encoders(stand_in, tokens).encode("a red house")
    assert made.embeds.shape == (1, tokens, 32)
    assert made.pooled.shape == (1, 32)
    assert made.ids.shape == (tokens, 3)
    assert not made.ids.any()


@torch.inference_mode()
def test_a_prompt_has_512_tokens_unless_the_checkpoint_says_otherwise(
    stand_in: LoadedCheckpoint,
) -> None:
    text = TextEncoders(stand_in.pipe, stand_in.device, TensorCache(0))
    assert text.encode("a red house").embeds.shape == (1, 512, 32)
    assert stand_in.text.encode("a red house").embeds.shape == (1, 512, 32)


@torch.inference_mode()
def test_the_token_embeddings_reach_further_than_the_pooled_vector(
    stand_in: LoadedCheckpoint,
) -> None:
    text = encoders(stand_in, 128)
    one, other = text.encode(LONG + "house"), text.encode(LONG + "boat")
    assert torch.equal(one.pooled, other.pooled)  # CLIP has seen 77 tokens
    assert not torch.equal(one.embeds, other.embeds)
    short, cut = encoders(stand_in, 48).encode(LONG), encoders(stand_in, 48).encode(LONG + "boat")
    assert torch.equal(short.embeds, cut.embeds)


@torch.inference_mode()
def test_each_prompt_is_encoded_once(stand_in: LoadedCheckpoint) -> None:
    text = encoders(stand_in, 48)
    first = text.encode("a red house")
    for other in ("a blue house", "A red house", "a red house,"):
        assert not torch.equal(text.encode(other).embeds, first.embeds)
    again = text.encode("a red house")
    assert again.embeds is first.embeds
    assert again.pooled is first.pooled


@pytest.mark.parametrize("tokens", [48, 512])
def test_a_prompt_is_cut_where_an_encoder_reads_no_further(
    stand_in: LoadedCheckpoint, tokens: int
) -> None:
    text = encoders(stand_in, tokens)
    assert text.cuts("a red house") == ()
    clip, t5 = (
        len(tokenizer("red").input_ids)
        for tokenizer in (stand_in.pipe.tokenizer, stand_in.pipe.tokenizer_2)
    )
    longest = "red " * (77 - clip + 1)
    assert not [cut for cut in text.cuts(longest) if cut.encoder == "CLIP"]
    [cut] = [cut for cut in text.cuts(longest + "red") if cut.encoder == "CLIP"]
    assert (cut.used, cut.total) == (77, 78)
    longest = "red " * (tokens - t5 + 1)
    assert not [cut for cut in text.cuts(longest) if cut.encoder == "T5"]
    [cut] = [cut for cut in text.cuts(longest + "red") if cut.encoder == "T5"]
    assert (cut.used, cut.total) == (tokens, tokens + 1)


@torch.inference_mode()
def test_what_is_not_cut_is_encoded_as_a_whole(stand_in: LoadedCheckpoint) -> None:
    """The number of tokens is that of the encoders: of the first prompt that is cut, the last word
    has no effect."""
    text = encoders(stand_in, 48)
    for count in range(40, 90):
        prompt = "red " * count
        cut = {cut.encoder for cut in text.cuts(prompt + "red")}
        one, other = text.encode(prompt + "red"), text.encode(prompt + "house")
        assert torch.equal(one.embeds, other.embeds) is ("T5" in cut)
        assert torch.equal(one.pooled, other.pooled) is ("CLIP" in cut)


def test_both_encoders_can_cut_a_prompt(stand_in: LoadedCheckpoint) -> None:
    cuts = encoders(stand_in, 48).cuts(LONG)
    assert [(cut.encoder, cut.used) for cut in cuts] == [("CLIP", 77), ("T5", 48)]
    assert all(isinstance(cut, PromptCut) and cut.total > 100 for cut in cuts)

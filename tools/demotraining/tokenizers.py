"""Builds the demo's two tokenizers: fast tokenizers of FLUX's classes, over a short word list.

An alphabet in addition makes any prompt encodable. The result is the same on every machine. Knows
the words of the demo's world and some that users try; knows no encoder.
"""

from __future__ import annotations

import json
import string

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

from models.checkpoints.demo import TEXT_TOKENS
from tools.demotraining.colours import BACKGROUND_COLOURS, OBJECT_COLOURS
from tools.demotraining.scenes import SHAPE_KINDS

_SCENE_WORDS = " ".join(
    (
        "a an on in and with front of behind beside background gradient person shirt trousers",
        *OBJECT_COLOURS,
        *BACKGROUND_COLOURS,
        *SHAPE_KINDS,
    )
)
_OTHER_WORDS = (
    "the at under over near very small large tall round old new photo photograph picture portrait "
    "painting drawing sketch render close up wide angle detailed man woman child astronaut dancer "
    "robot cat dog horse bird fish flower tree forest mountain lake river sea beach sky cloud sun "
    "moon night day morning evening winter street city house lighthouse room window door table "
    "chair cup bottle book car bicycle train boat bridge tower castle garden grass snow rain gold "
    "silver bright soft warm cold light dark shadow smiling standing sitting running jumping "
    "dancing looking holding wearing dress suit hat coat shoes hair eyes face hand cube sphere line"
)
WORDS = list(dict.fromkeys(f"{_SCENE_WORDS} {_OTHER_WORDS}".split()))
"""Of the demo's world, and others that users try."""

_SPECIAL = ("<pad>", "</s>", "<unk>")


def clip_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE, 77 tokens, as openai/clip-vit-large-patch14 is used by FLUX."""
    draft = CLIPTokenizer()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        # The trainer numbers the ends of words in an order of the moment unless they are given.
        special_tokens=["<|startoftext|>", "<|endoftext|>", *(f"{c}</w>" for c in alphabet)],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    draft._tokenizer.train_from_iterator(WORDS, trainer)
    model = json.loads(draft._tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=77)


def t5_tokenizer() -> T5TokenizerFast:
    """Unigram pieces: a word of the list is one token, any other word is spelt."""
    words = [(f"▁{word}", -1.0) for word in WORDS]
    letters = [(letter, -10.0) for letter in ("▁", *string.printable.strip())]
    pieces = [*((piece, 0.0) for piece in _SPECIAL), *words, *letters]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=TEXT_TOKENS)

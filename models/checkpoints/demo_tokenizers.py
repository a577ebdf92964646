"""The demo's two tokenizers: real fast tokenizers of the classes FLUX uses, trained on the spot on
a short word list, with a byte alphabet so that any prompt can be encoded.
"""

from __future__ import annotations

import json

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

_TEXT = (
    "a an the of on in at with and under over beside behind near very small large tall round "
    "old new photo photograph picture portrait painting drawing sketch render close up wide "
    "angle detailed person man woman child astronaut dancer robot cat dog horse bird fish "
    "flower tree forest mountain river sea beach sky cloud sun moon star night day morning "
    "evening street city house room window door table chair cup bottle book car bicycle train "
    "boat bridge tower castle garden grass snow rain red green blue yellow orange purple pink "
    "black white grey brown gold silver bright dark soft warm cold light shadow smiling "
    "standing sitting running jumping dancing looking holding wearing dress suit hat shirt coat "
    "shoes hair eyes face hand circle square triangle cube sphere star ring line "
)

_SPECIAL = ["<pad>", "</s>", "<unk>"]


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
    draft._tokenizer.train_from_iterator(_TEXT.split(), trainer)
    model = json.loads(draft._tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=77)


def t5_tokenizer() -> T5TokenizerFast:
    """Unigram pieces, 512 tokens, as google/t5-v1_1-xxl is used by FLUX."""
    draft = T5TokenizerFast()
    trainer = trainers.UnigramTrainer(
        vocab_size=512,
        special_tokens=_SPECIAL,
        unk_token="<unk>",
        show_progress=False,
    )
    draft._tokenizer.train_from_iterator(_TEXT.split(), trainer)
    model = json.loads(draft._tokenizer.to_str())["model"]
    special, learnt = model["vocab"][: len(_SPECIAL)], model["vocab"][len(_SPECIAL) :]
    # Trained in threads: equally likely pieces come in an order of the moment.
    learnt = sorted((-round(score, 3), piece) for piece, score in learnt)
    pieces = [*map(tuple, special), *((piece, -cost) for cost, piece in learnt)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)

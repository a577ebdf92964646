"""Loads the two tokenizers of FLUX and checks that each has its whole vocabulary.

transformers makes a tokenizer of two or a hundred words where files are missing; every prompt would
become the same unknown tokens. Each fault is a ValueError or OSError of one line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer, T5TokenizerFast

from models.checkpoints.validation.tensor_files import read_json
from models.load_errors import reason_of

_PADDED_TO = 128  # T5's embedding has 32128 rows for 32100 tokens
_LETTERS_AND_ENDS = 2 * 256 + 2  # the tokens of CLIP that no merge makes


def load_tokenizers(base: Path) -> dict[str, Any]:
    """tokenizer (CLIP) and tokenizer_2 (T5) of a base pipeline's folder, by their roles."""
    clip_folder, t5_folder = base / "tokenizer", base / "tokenizer_2"
    clip = _load(CLIPTokenizer, clip_folder, ("vocab.json", "merges.txt"))
    _check_size(clip_folder, len(clip), base / "text_encoder")
    _check_merges(clip_folder, clip)
    t5 = _load(T5TokenizerFast, t5_folder, ("spiece.model",))
    _check_size(t5_folder, len(t5), base / "text_encoder_2")
    return {"tokenizer": clip, "tokenizer_2": t5}


def _load(tokenizer_class: Any, folder: Path, slow_files: tuple[str, ...]) -> Any:
    """slow_files: the files that may stand in place of tokenizer.json."""
    files = ("tokenizer.json",) if (folder / "tokenizer.json").exists() else slow_files
    for name in ("tokenizer_config.json", *files):
        if not (folder / name).exists():
            raise ValueError(f"{folder / name}: is missing")
    for file in sorted(folder.glob("*.json")):
        read_json(file)
    try:
        return tokenizer_class.from_pretrained(folder)
    except Exception as error:  # the library raises Exception itself for a damaged vocabulary
        raise ValueError(f"{folder}: makes no tokenizer: {reason_of(error)}") from error


def _check_size(folder: Path, tokens: int, text_encoder: Path) -> None:
    vocabulary = read_json(text_encoder / "config.json")["vocab_size"]
    if not vocabulary - _PADDED_TO < tokens <= vocabulary:
        raise ValueError(
            f"{folder}: has {tokens} tokens where {text_encoder.name} has {vocabulary}"
        )


def _check_merges(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Without its merges it splits every word into letters."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = len(model["vocab"]) - _LETTERS_AND_ENDS
    if len(model["merges"]) != merges:
        raise ValueError(
            f"{folder}: has {len(model['merges'])} merges where its vocabulary needs {merges}"
        )

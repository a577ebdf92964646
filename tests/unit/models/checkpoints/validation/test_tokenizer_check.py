"""A tokenizer without a part of its vocabulary is an error, and never a smaller tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from models.checkpoints import Checkpoint
from models.checkpoints import demo as demo_module
from models.checkpoints.validation.tokenizer_check import load_tokenizers

pytestmark = pytest.mark.torch

DEMO = Path(demo_module.__file__).with_name("demo_weights") / "base"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The tokenizers of the demo as published: CLIP in vocab.json and merges.txt."""
    for name in ("text_encoder", "text_encoder_2"):
        (tmp_path / name).mkdir()
        shutil.copy(DEMO / name / "config.json", tmp_path / name)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(DEMO / name, tmp_path / name)
    file = tmp_path / "tokenizer" / "tokenizer.json"
    model = json.loads(file.read_text())["model"]
    file.with_name("vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *map(" ".join, model["merges"])]
    file.with_name("merges.txt").write_text("\n".join(lines) + "\n")
    file.unlink()
    return tmp_path


def refusal(base: Path) -> str:
    with pytest.raises((ValueError, OSError)) as refused:
        load_tokenizers(base)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def halved(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_the_published_files_make_the_tokenizer_of_one_file(base: Path) -> None:
    clip = load_tokenizers(base)["tokenizer"]
    one_file = CLIPTokenizer.from_pretrained(DEMO / "tokenizer")
    text = "a red helmet, 日本"
    assert clip(text).input_ids == one_file(text).input_ids
    assert clip.model_max_length == 77


def test_a_tokenizer_in_one_file_is_taken_too(stand_in_checkpoint: Checkpoint) -> None:
    assert stand_in_checkpoint.base.folder is not None
    assert load_tokenizers(stand_in_checkpoint.base.folder).keys() == {"tokenizer", "tokenizer_2"}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tokenizer/vocab.json", "vocab.json: is missing"),
        ("tokenizer/merges.txt", "merges.txt: is missing"),
        ("tokenizer/tokenizer_config.json", "tokenizer_config.json: is missing"),
        ("tokenizer_2/tokenizer.json", "spiece.model: is missing"),
        ("tokenizer_2/tokenizer_config.json", "tokenizer_config.json: is missing"),
    ],
)
def test_a_missing_file_is_named(base: Path, file: str, said: str) -> None:
    (base / file).unlink()
    line = refusal(base)
    assert str((base / file).parent) in line
    assert line.endswith(said)


@pytest.mark.parametrize("damage", [halved, lambda file: file.write_text("")], ids=["cut", "empty"])
@pytest.mark.parametrize(
    "file",
    [
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer_2/tokenizer.json",
        "tokenizer_2/tokenizer_config.json",
    ],
)
def test_a_damaged_file_is_an_error(
    base: Path, file: str, damage: Callable[[Path], object]
) -> None:
    damage(base / file)
    assert str((base / file).parent) in refusal(base)


def test_a_vocabulary_of_another_size_than_the_embedding_is_an_error(base: Path) -> None:
    config = base / "text_encoder_2" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 32_128}))
    assert refusal(base) == (
        f"{base / 'tokenizer_2'}: has 240 tokens where text_encoder_2 has 32128"
    )


def test_missing_merges_are_an_error(base: Path) -> None:
    """With these files the library would split each word into letters."""
    merges = base / "tokenizer" / "merges.txt"
    merges.write_text("\n".join(merges.read_text().splitlines()[:101]) + "\n")
    assert refusal(base) == (f"{base / 'tokenizer'}: has 100 merges where its vocabulary needs 359")

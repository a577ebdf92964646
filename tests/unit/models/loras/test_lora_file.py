"""The description of a LoRA file, whole or damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.loras.lora_file import read_lora_file
from tests.support.lora_files import (
    AI_TOOLKIT,
    DIFFUSERS,
    KOHYA,
    kohya_layer,
    peft_layer,
    write_lora,
    xlabs_layer,
)


@pytest.mark.parametrize(
    ("shapes", "software", "format_name"),
    [
        (peft_layer(), "", "diffusers"),
        (peft_layer(), '{"name": "ai-toolkit"}', "ai-toolkit"),
        (peft_layer(AI_TOOLKIT), "", "ai-toolkit"),
        (kohya_layer(), "", "kohya"),
        (xlabs_layer(), "", "xlabs"),
    ],
)
def test_a_file_of_each_format(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], software: str, format_name: str
) -> None:
    metadata = {
        "software": software,
        "trigger_phrase": "inked",
        "modelspec.architecture": "flux-1-dev/lora",
    }
    path = write_lora(tmp_path / "ink v1.0.safetensors", shapes, metadata)
    file = read_lora_file(path)
    assert (file.name, file.path, file.bytes) == ("ink v1.0", path, path.stat().st_size)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file.format, file.rank, file.layers) == (format_name, 4, 1)
    assert (file.base_model, file.trigger_words) == ("flux-1-dev/lora", ("inked",))
    assert file.error is None


def test_the_rank_is_the_largest_of_the_layers(tmp_path: Path) -> None:
    shapes = peft_layer() | peft_layer("transformer.proj_out", rank=16)
    file = read_lora_file(write_lora(tmp_path / "a.safetensors", shapes))
    assert (file.rank, file.layers) == (16, 2)


@pytest.mark.parametrize(
    ("shapes", "error"),
    [
        (kohya_layer() | {f"{KOHYA}.dora_scale": (8,)}, "is a DoRA"),
        ({}, "holds no tensors"),
        (
            {f"{DIFFUSERS}.lora_A.weight": (4, 8), f"{DIFFUSERS}.lora_B.weight": (8, 2)},
            f"the layer {DIFFUSERS} has matrices of the ranks 4 and 2",
        ),
        (
            {f"{DIFFUSERS}.lora_A.weight": (4, 8, 1, 1), f"{DIFFUSERS}.lora_B.weight": (8, 4)},
            f"the layer {DIFFUSERS} has other tensors than two matrices of floats",
        ),
        (
            {f"{DIFFUSERS}.lora_A.weight": (0, 8), f"{DIFFUSERS}.lora_B.weight": (8, 0)},
            f"the layer {DIFFUSERS} has other tensors than two matrices of floats",
        ),
    ],
)
def test_a_file_that_cannot_be_applied_says_why(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], error: str
) -> None:
    file = read_lora_file(write_lora(tmp_path / "a.safetensors", shapes))
    assert str(file.error).startswith(error)
    assert file.sha256


def test_matrices_of_integers_are_refused(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"I16"'))
    assert "other tensors than two matrices of floats" in str(read_lora_file(path).error)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is cut within its header, or is no safetensors file"),
        (b"PK\x03\x04 a pickle", "is cut within its header, or is no safetensors file"),
        ((9).to_bytes(8, "little") + b"[not json", "is damaged, its JSON cannot be read"),
        ((1 << 24).to_bytes(8, "little") + bytes(1 << 24), "has a header of 16777216 bytes, more"),
    ],
)
def test_a_damaged_file_says_why(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    file = read_lora_file(path)
    assert str(file.error).startswith(error)
    assert str(tmp_path) not in str(file.error)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_was_cut_says_so(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    assert str(read_lora_file(path).error).startswith("is cut within tensor ")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    file = read_lora_file(tmp_path / "a.safetensors")
    assert (file.error, file.sha256) == ("cannot be read: No such file or directory", "")

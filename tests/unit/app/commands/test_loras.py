"""`models loras`: what is printed of LoRA files, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import main
from tests.support.lora_files import KOHYA, kohya_layer, sha256_of, write_lora

ABOUT = {"modelspec.architecture": "flux-1-dev/lora", "trigger_words": "ink, wash"}


def test_a_file_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lora(tmp_path / "ink.safetensors", kohya_layer(), ABOUT)
    assert main(["models", "loras", "check", str(file)]) == 0
    first, sha256, base_model, words, verdict = capsys.readouterr().out.splitlines()
    assert first == "ink.safetensors: format kohya, rank 4, 1 layers, 0.0 MB"
    assert sha256 == f"SHA-256: {sha256_of(file)}"
    assert base_model == "base model: flux-1-dev/lora"
    assert words == "trigger words: ink, wash"
    assert verdict.startswith("fit: its header has no fault; whether its layers fit ")


def test_a_file_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lora(tmp_path / "dora.safetensors", {f"{KOHYA}.dora_scale": (8,)})
    assert main(["models", "loras", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert "base model: not said\ntrigger words: none\nrefused: is a DoRA, " in said
    assert main(["models", "loras", "check", str(tmp_path / "absent")]) == 1
    said = capsys.readouterr().out
    assert "SHA-256: unknown\n" in said
    assert said.endswith("refused: cannot be read: No such file or directory\n")


def test_the_files_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAS_DIR", str(tmp_path))
    write_lora(tmp_path / "ink.safetensors")
    write_lora(tmp_path / "empty.safetensors", {})
    write_lora(tmp_path / "müller.safetensors")
    assert main(["models", "loras", "list"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "empty  format unknown, rank 0, 0 layers, 0.0 MB  refused: holds no tensors",
        "ink  format diffusers, rank 4, 1 layers, 0.0 MB",
    ]
    assert said.err.startswith("müller.safetensors  not served: ")


def test_a_folder_that_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.settings.DEMO_LORAS", tmp_path / "absent")
    assert main(["models", "loras", "list"]) == 0
    assert capsys.readouterr().err == "LORAS_DIR is not set, so the server has no LoRAs\n"
    monkeypatch.setenv("LORAS_DIR", str(tmp_path / "absent"))
    with pytest.raises(SystemExit):
        main(["models", "loras", "list"])

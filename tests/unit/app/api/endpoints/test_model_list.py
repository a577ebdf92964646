"""The list of models and of LoRA files."""

from __future__ import annotations

import shutil
from pathlib import Path

from fastapi.testclient import TestClient

from app.core.settings import Settings
from app.main import create_app
from tests.support.lora_files import sha256_of, write_lora

LIST = "/inference-model-information/list"


def test_the_list_needs_a_key(api: TestClient) -> None:
    assert api.get(LIST, headers={"x-api-key": ""}).status_code == 401
    assert api.get(LIST).json()["models"][0]["slug"] == "flux-controlnet"


def test_the_list_of_models_has_the_loras(
    redis_server: str, api: TestClient, tmp_path: Path
) -> None:
    about = {"trigger_phrase": "inked", "modelspec.architecture": "flux-1-dev/lora"}
    ink = write_lora(tmp_path / "ink.safetensors", metadata=about)
    write_lora(tmp_path / "empty.safetensors", {})
    settings = Settings(redis_url=redis_server, loras_dir=str(tmp_path))
    with TestClient(create_app(settings), headers=dict(api.headers)) as client:
        empty, listed = client.get(LIST).json()["loras"]
        assert (empty["name"], empty["error"]) == ("empty", "holds no tensors")
        assert listed == {
            "name": "ink",
            "trigger_words": ["inked"],
            "base_model": "flux-1-dev/lora",
            "format": "diffusers",
            "rank": 4,
            "bytes": ink.stat().st_size,
            "sha256": sha256_of(ink),
            "error": None,
        }
        shutil.rmtree(tmp_path)
        assert client.get(LIST).json()["loras"] == []

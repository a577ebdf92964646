"""What `doctor` finds about the model on a machine without a GPU, and about weights on its disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.findings import Finding, Level
from app.core.settings import Settings
from models.checkpoints import weights
from worker.doctor import examine_model

pytestmark = pytest.mark.torch

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """(checkpoint, hashing=False) -> findings by what they are about, of an empty disk."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def made(checkpoint: str, hashing: bool = False) -> dict[str, Finding]:
        settings = Settings(checkpoint=checkpoint, data_dir=tmp_path)
        return {one.what: one for one in examine_model(settings, hashing)}

    return made


def test_the_demo_is_well_anywhere(examine: Examine) -> None:
    found = examine("demo")
    assert {one.level for one in found.values()} == {Level.OK}
    assert found["weights, base"].said == "came with the server"
    assert found["memory plan"].said.startswith("host: ")


def test_the_real_model_lacks_a_gpu_and_its_weights(examine: Examine) -> None:
    found = examine("flux-dev-union-pro")
    assert found["device"].level is Level.FAIL
    assert "--gpus all" in found["device"].remedy
    base = found["weights, base"]
    assert base.level is Level.FAIL
    assert base.remedy == "python -m app.cli models download flux-dev-union-pro"
    assert found["licence"].level is Level.WARN


@pytest.mark.parametrize(("free", "level"), [(41e9, Level.WARN), (42e9, Level.OK)])
def test_weights_that_are_to_come_need_room(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, free: float, level: Level
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    found = examine("flux-dev-union-pro")["disk for weights"]
    assert found.level is level
    assert found.said.endswith(" GB free in HF_HOME, all weights are 41.1 GB")
    assert "disk for weights" not in examine("demo")


def test_weights_are_compared_with_their_hashes_when_asked(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / ("0" * 64)).write_bytes(b"not what this name says")
    monkeypatch.setattr(weights, "find", lambda _part: folder)
    assert examine("flux-dev-union-pro")["weights, base"].level is Level.OK
    found = examine("flux-dev-union-pro", hashing=True)["weights, base"]
    assert found.level is Level.FAIL
    assert "is not what its hash says" in found.said


def test_a_driver_that_fails_is_named(examine: Examine, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver mismatch'; exit 18\n")
    tool.chmod(0o755)
    found = examine("demo")["driver"]
    assert found.level is Level.FAIL
    assert "Driver mismatch" in found.said

"""The findings of `doctor` about the model, on a machine without a GPU, and about its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.findings import Finding, Level
from app.core.settings import Settings
from models.checkpoints import weights
from worker.doctor import examine_assumed, examine_model

pytestmark = pytest.mark.torch

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """(checkpoint, hashing=False) -> findings by subject, with no weights on the disk."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(checkpoint: str, hashing: bool = False) -> dict[str, Finding]:
        settings = Settings(checkpoint=checkpoint, data_dir=tmp_path)
        return {finding.what: finding for finding in examine_model(settings, hashing)}

    return run


def test_the_demo_has_only_good_findings_on_any_machine(examine: Examine) -> None:
    findings = examine("demo")
    assert {finding.level for finding in findings.values()} == {Level.OK}
    assert findings["weights, base"].said == "came with the server"
    assert findings["memory plan"].said.startswith("host: ")


def test_the_real_model_lacks_a_gpu_and_its_weights(examine: Examine) -> None:
    findings = examine("flux-dev-union-pro")
    assert findings["device"].level is Level.FAIL
    assert "--gpus all" in findings["device"].remedy
    base = findings["weights, base"]
    assert base.level is Level.FAIL
    assert base.remedy == "python -m app.cli models download flux-dev-union-pro"
    assert findings["licence"].level is Level.WARN


@pytest.mark.parametrize(("free", "level"), [(41e9, Level.WARN), (42e9, Level.OK)])
def test_missing_weights_need_disk_space(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, free: float, level: Level
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    finding = examine("flux-dev-union-pro")["disk for weights"]
    assert finding.level is level
    assert finding.said.endswith(" GB free in HF_HOME, all weights are 41.0 GB")
    assert "disk for weights" not in examine("demo")


def test_hashing_compares_weights_with_their_hashes(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / ("0" * 64)).write_bytes(b"not what this name says")
    monkeypatch.setattr(weights, "find", lambda _part: folder)
    assert examine("flux-dev-union-pro")["weights, base"].level is Level.OK
    finding = examine("flux-dev-union-pro", hashing=True)["weights, base"]
    assert finding.level is Level.FAIL
    assert "is not what its hash says" in finding.said


def test_a_driver_that_fails_is_reported(examine: Examine, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver mismatch'; exit 18\n")
    tool.chmod(0o755)
    finding = examine("demo")["driver"]
    assert finding.level is Level.FAIL
    assert "Driver mismatch" in finding.said


def assumed(checkpoint: str, card: float, ram: float | None) -> dict[str, Finding]:
    """The findings of an assumed machine by the profile that PROFILE names."""
    findings = examine_assumed(Settings(checkpoint=checkpoint), card, ram)
    return {finding.what.rpartition("=")[2]: finding for finding in findings}


def test_an_assumed_machine_gets_its_plan_for_each_profile() -> None:
    plans = assumed("flux-dev-union-pro", 48, 64)
    assert plans["exact"].level is plans["fast"].level is plans["turbo"].level is Level.OK
    assert plans["exact"].said.startswith("exact: networks in 16 bits on the card")
    assert plans["exact"].said.endswith("serves fast and turbo as exact")
    assert plans["fast"].said == plans["turbo"].said
    assert plans["fast"].said.startswith("8-bit: networks in 8 bits on the card")


def test_a_profile_that_the_plan_replaces_is_a_warning_with_the_setting() -> None:
    plans = assumed("demo", 24, 32)  # the demo needs no plan: the real model's
    assert plans["exact"].what.startswith("memory plan of flux-dev-union-pro")
    assert plans["exact"].level is Level.WARN
    assert plans["exact"].remedy.endswith("set PROFILE=fast")
    assert plans["fast"].level is Level.OK


def test_the_plan_of_an_assumed_machine_has_room_for_loras_if_the_server_has_a_folder(
    tmp_path: Path,
) -> None:
    """The folder that comes with the demo does not count: the plan is of another checkpoint."""
    plain, shipped, own = (
        [str(finding) for finding in examine_assumed(settings, 24, 32)]
        for settings in (
            Settings(checkpoint="flux-dev-union-pro"),
            Settings(checkpoint="demo"),
            Settings(checkpoint="flux-dev-union-pro", loras_dir=str(tmp_path)),
        )
    )
    assert plain == shipped
    assert "weights 18.1 GB on the card" in plain[0]
    assert "weights 19.9 GB on the card" in own[0]


def test_an_assumed_machine_that_is_too_small_fails_in_one_line() -> None:
    for card, ram, reason in ((4, 64, "too few for any memory plan"), (12, 16, "GB of RAM")):
        for finding in assumed("flux-dev-union-pro", card, ram).values():
            assert finding.level is Level.FAIL
            assert reason in finding.said
            assert "\n" not in finding.said


def test_an_assumed_card_may_stand_in_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.doctor.memory_limit", lambda: 1)
    assert assumed("flux-dev-union-pro", 12, None)["fast"].level is Level.FAIL
    assert assumed("flux-dev-union-pro", 80, None)["fast"].level is Level.FAIL

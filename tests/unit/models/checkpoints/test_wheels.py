"""Weights of a wheel, which a stand-in for pip delivers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from app.cli import main
from app.core.system.exit import EXIT_CONFIG
from models.checkpoints import annotators
from models.checkpoints.annotators.blazepose import BLAZEPOSE
from models.checkpoints.checkpoint import Part, Wheel
from models.checkpoints.revisions import revision_of
from models.checkpoints.weights import damaged, fetch, find, missing
from models.errors import CheckpointError

pytestmark = pytest.mark.torch

NETWORK, OTHER = b"a network", b"code that is never run"


def wheel_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("package/deep/one.tflite", NETWORK)
        archive.writestr("package/__init__.py", OTHER)
    return buffer.getvalue()


def part_with(network: bytes = NETWORK) -> Part:
    digest = hashlib.sha256(network).hexdigest()
    members = {"package/deep/one.tflite": digest}
    wheel = Wheel("package==1.0", "manylinux2014_x86_64", "3.11", "0" * 64, 1000, members)
    return Part(licence="Apache-2.0", wheel=wheel)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run. Each one downloads the wheel."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commands: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        requirement = Path(command[command.index("--requirement") + 1]).read_text()
        assert requirement == f"package==1.0 --hash=sha256:{'0' * 64}\n"
        (folder / "package-1.0-py3-none-any.whl").write_bytes(wheel_file())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_only_the_weights_are_kept_and_only_one_download_runs(
    pip: list[list[str]], tmp_path: Path
) -> None:
    part = part_with()
    assert find(part) is None
    assert (missing(part).files, missing(part).size) == (1, 1000)
    folder = fetch(part)
    assert folder == tmp_path / "wheels" / "package-1.0"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one.tflite"]
    assert (folder / "one.tflite").read_bytes() == NETWORK
    assert find(part) == fetch(part) == folder
    assert missing(part).files == 0
    assert damaged(folder) == []
    (command,) = pip
    assert {"download", "--no-deps", "--require-hashes", "--only-binary"} <= set(command)


def test_a_damaged_file_is_downloaded_again(pip: list[list[str]]) -> None:
    part = part_with()
    file = fetch(part) / "one.tflite"
    file.write_bytes(b"another")
    assert find(part) is None
    assert (fetch(part) / "one.tflite").read_bytes() == NETWORK
    assert len(pip) == 2


@pytest.mark.usefixtures("pip")
def test_a_wheel_with_another_content_is_refused() -> None:
    with pytest.raises(CheckpointError, match="one.tflite is not what its hash says"):
        fetch(part_with(b"expected"))
    assert find(part_with(b"expected")) is None


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: slow\nERROR: first\nERROR: No matching distribution\n", "No matching"),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "it gave no file"),
    ],
)
def test_a_failure_of_pip_is_one_line(
    pip: list[list[str]], monkeypatch: pytest.MonkeyPatch, stderr: str, reason: str
) -> None:
    del pip
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: failed)
    with pytest.raises(CheckpointError, match="pip cannot download it: ") as refused:
        fetch(part_with())
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_receipt_names_the_wheel(tmp_path: Path) -> None:
    assert revision_of(part_with(), tmp_path) == f"package==1.0@sha256:{'0' * 64}"


def test_the_command_downloads_one_annotator(
    pip: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = dataclasses.replace(BLAZEPOSE, part=part_with())
    monkeypatch.setattr(annotators, "CHOICES", {"blazepose": local})
    assert main(["models", "download", "blazepose"]) == 0
    assert "pose_annotator: package==1.0 at its hash, Apache-2.0" in capsys.readouterr().out
    assert len(pip) == 1
    with pytest.raises(SystemExit) as ended:
        main(["models", "download", "openpose"])
    assert ended.value.code == EXIT_CONFIG
    assert "depth-anything-v2-small, dwpose, blazepose" in capsys.readouterr().err

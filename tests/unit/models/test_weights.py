"""Weights from a hub: download, resume, verification, and errors of one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from app.cli import main
from app.core.system.exit import EXIT_CONFIG
from models.checkpoints.checkpoint import Part
from models.checkpoints.weights import damaged, fetch, find, forget, missing
from models.errors import CheckpointError
from tests.support.hub import REVISION, Hub, running_hub

pytestmark = pytest.mark.torch

LARGE = os.urandom(300_000)
PART = Part(
    licence="none",
    repository="team/weights",
    revision=REVISION,
    files=("*.bin", "config.json"),
    sizes={"large.bin": len(LARGE)},
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    files = {"large.bin": LARGE, "config.json": b"{}", "unwanted.txt": b"x"}
    with running_hub(files) as running:
        point_at(running.origin, monkeypatch)
        yield running


def point_at(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT does, which the library reads only once."""
    monkeypatch.setattr(constants, "ENDPOINT", origin)
    template = origin + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def refusal(part: Part = PART) -> str:
    with pytest.raises(CheckpointError) as refused:
        fetch(part)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.usefixtures("hub")
def test_the_files_of_a_part_and_no_others_are_downloaded_once() -> None:
    assert find(PART) is None
    assert (missing(PART).files, missing(PART).size) == (2, len(LARGE) + 2)
    folder = fetch(PART)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "large.bin"]
    assert (folder / "large.bin").read_bytes() == LARGE
    assert find(PART) == folder
    assert missing(PART).files == 0
    assert damaged(folder) == []


def test_an_interrupted_download_resumes(hub: Hub) -> None:
    hub.cut_after = 100_000
    folder = fetch(PART)
    assert (folder / "large.bin").read_bytes() == LARGE
    assert "bytes=100000-" in hub.ranges


def test_a_damaged_file_is_found_and_downloaded_again(hub: Hub) -> None:
    hub.lie = True
    folder = fetch(PART)
    wrong = damaged(folder)
    assert {path.name for path in wrong} == {"large.bin", "config.json"}
    hub.lie = False
    for path in wrong:
        forget(path)
    assert damaged(fetch(PART)) == []


def test_the_error_of_a_gated_repository_names_its_licence_page(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated = "hf_right"
    for token in ("", "hf_wrong"):
        monkeypatch.setenv("HF_TOKEN", token)
        text = refusal()
        assert f"accept the licence at {hub.origin}/team/weights and set HF_TOKEN" in text
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert (fetch(PART) / "config.json").exists()


def test_an_unreachable_hub_is_reported(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _s: None)
    unreachable = "http://127.0.0.1:9"
    point_at(unreachable, monkeypatch)
    assert "the hub cannot be reached" in refusal()
    point_at(hub.origin, monkeypatch)
    folder = fetch(PART)
    point_at(unreachable, monkeypatch)
    assert fetch(PART) == folder


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((401, ""), "HF_TOKEN is missing, wrong, or not allowed to read it"),
        ((403, ""), "HF_TOKEN is missing, wrong, or not allowed to read it"),
        ((403, "GatedRepo"), "is gated: accept the licence at"),
        ((404, "RepoNotFound"), "HF_TOKEN is missing or wrong, or there is no such repository"),
        ((500, ""), "answered with HTTP status 500; try again later"),
        (None, "the hub cannot be reached (http://127.0.0.1:9); see the network, HF_HUB_OFFLINE"),
    ],
    ids=str,
)
def test_the_download_command_prints_an_error_of_the_hub_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    hub: Hub,
    tmp_path: Path,
    refusal: tuple[int, str] | None,
    sentence: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _s: None)
    monkeypatch.chdir(tmp_path)
    hub.refusal = refusal
    if refusal is None:
        point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        main(["models", "download", "flux-dev-union-pro"])
    assert stopped.value.code == EXIT_CONFIG
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("models: black-forest-labs/FLUX.1-dev")
    assert sentence in line


@pytest.mark.usefixtures("hub")
def test_a_full_disk_is_reported_before_and_during_the_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as small:
        small.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(CheckpointError, match="are missing and 0.0 GB are free in .*HF_HOME"):
            missing(PART)
    monkeypatch.setattr("models.checkpoints.weights.snapshot_download", full)
    assert "no space is left in" in refusal()


@pytest.mark.usefixtures("hub")
def test_a_file_of_the_wrong_size_is_refused() -> None:
    part = replace(PART, sizes={"large.bin": 7})
    assert refusal(part) == "team/weights: large.bin has 300000 bytes where 7 are expected"
    assert find(part) is None

"""`doctor`: its findings about LORAS_DIR."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.findings import Finding, Level
from app.core.settings import Settings
from app.doctor import loras
from tests.support.lora_files import KOHYA, write_lora

GB = 10**9


@pytest.fixture(autouse=True)
def ram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loras, "memory_limit", lambda: 16 * GB)


def findings(path: Path, **settings: int) -> list[Finding]:
    return list(loras.examine_loras(Settings(loras_dir=str(path), **settings)))


def test_a_server_without_loras_has_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.settings.DEMO_LORAS", Path("/absent"))
    assert list(loras.examine_loras(Settings())) == []


def test_files_that_fit(tmp_path: Path) -> None:
    write_lora(tmp_path / "ink.safetensors")
    files, cache = findings(tmp_path)
    assert (files.level, files.said) == (Level.OK, f"usable files in {tmp_path}: 1")
    assert (cache.level, cache.said) == (
        Level.OK,
        "at most 2.1 of 16.0 GB of RAM in a gpu worker",
    )


def test_files_that_do_not_fit_are_warnings(tmp_path: Path) -> None:
    write_lora(tmp_path / "dora.safetensors", {f"{KOHYA}.dora_scale": (8,)})
    write_lora(tmp_path / "müller.safetensors")
    files, dora, name, _ = findings(tmp_path)
    assert files.said.endswith(": 0")
    assert (dora.level, name.level) == (Level.WARN, Level.WARN)
    assert dora.said.startswith("dora.safetensors: is a DoRA")
    assert name.said == "müller.safetensors cannot be named by requests"


def test_a_folder_that_cannot_be_read_fails(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    folder, _ = findings(absent)
    assert (folder.level, folder.said) == (Level.FAIL, f"{absent}: No such file or directory")


def test_a_cache_of_much_of_the_memory_is_a_warning(tmp_path: Path) -> None:
    assert findings(tmp_path, loras_cache_bytes=4 * GB)[-1].level is Level.OK
    assert findings(tmp_path, loras_cache_bytes=4 * GB + 1)[-1].level is Level.WARN

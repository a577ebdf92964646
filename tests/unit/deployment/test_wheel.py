"""The content of an installed wheel: code, types, the demo's weights, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from app import VERSION

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("app", "models", "worker")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, for a build leaves folders behind; by the setuptools that is installed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
    (tree / "wheels").mkdir()
    subprocess.run(
        [sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, timeout=120
    )
    [file] = (tree / "wheels").iterdir()
    assert file.name == f"flux_controlnet_server-{VERSION}-py3-none-any.whl"
    return zipfile.ZipFile(file)


def test_a_wheel_holds_every_file_of_the_three_packages_and_nothing_else(
    wheel: zipfile.ZipFile,
) -> None:
    metadata = f"flux_controlnet_server-{VERSION}.dist-info/"
    packed = {name for name in wheel.namelist() if not name.startswith(metadata)}
    modules = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    scripts = (ROOT / "app" / "core" / "lua").rglob("*.lua")
    playground = (ROOT / "app" / "playground").rglob("*.*")
    weights = (ROOT / "models" / "checkpoints").glob("demo_*/**/*.*")
    files = {str(path.relative_to(ROOT)) for path in (*modules, *scripts, *playground, *weights)}
    sums = {f"models/checkpoints/{name}/SHA256SUMS" for name in ("demo_weights", "demo_loras")}
    assert packed == files | sums | {f"{package}/py.typed" for package in PACKAGES}


def test_a_wheel_has_the_version_of_the_code_and_installs_no_command(
    wheel: zipfile.ZipFile,
) -> None:
    folder = f"flux_controlnet_server-{VERSION}.dist-info"
    metadata = message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert metadata["Version"] == VERSION
    assert {"api", "worker", "postgres", "s3", "tracing"} <= set(metadata.get_all("Provides-Extra"))
    assert f"{folder}/entry_points.txt" not in wheel.namelist()

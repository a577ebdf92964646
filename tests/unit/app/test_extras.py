"""The commands of an installation that has the extra `api` alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.core.system.exit import EXIT_CONFIG
from tests.support.servers import environment

WITHOUT_THE_WORKERS_LIBRARIES = """
import sys
libraries = (
    "PIL accelerate controlnet_aux cv2 diffusers httpcore huggingface_hub numpy pi_heif "
    "safetensors scipy torch torchsde torchvision transformers"
)
for name in libraries.split():
    sys.modules[name] = None
from app.cli import main
sys.exit(main(sys.argv[1:]))
"""
MISSING = "is not installed; install the extra worker"


def run(folder: Path, *arguments: str, redis_url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_WORKERS_LIBRARIES, *arguments],
        cwd=folder,
        env=environment(REDIS_URL=redis_url) if redis_url else environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    receipt = '{"receipt": {"parameters": {"prompt": "x"}}, "signature": {"value": "x"}}'
    (tmp_path / "receipt.json").write_text(receipt)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("receipt verify picture.png", f"receipt: PIL {MISSING}"),
        ("receipt replay picture.png", f"receipt: PIL {MISSING}"),
        ("models list", f"models: diffusers {MISSING}"),
        ("models download demo", f"models: diffusers {MISSING}"),
        ("worker gpu", f"worker: PIL {MISSING}"),
        ("worker fetch", f"worker: PIL {MISSING}"),
    ],
)
def test_a_command_of_the_extra_worker_names_what_is_missing(
    folder: Path, redis_server: str, command: str, line: str
) -> None:
    done = run(folder, *command.split(), redis_url=redis_server)
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CONFIG, "", f"{line}\n")


def test_a_json_receipt_is_verified_without_pillow(folder: Path, redis_server: str) -> None:
    done = run(folder, "receipt", "verify", "receipt.json", redis_url=redis_server)
    fault = "the signature is not this installation's, or something was changed\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, fault, "")


def test_a_json_receipt_is_replayed_without_pillow(folder: Path) -> None:
    """As far as the server, which is not there."""
    address = ["--url", "http://127.0.0.1:9", "--key", "x", "--image", "picture.png"]
    done = run(folder, "receipt", "replay", "receipt.json", *address)
    assert done.stderr.startswith("receipt: http://127.0.0.1:9 cannot be reached")
    assert (done.returncode, done.stdout) == (EXIT_CONFIG, "")


def test_doctor_needs_no_library_of_the_workers(folder: Path, redis_server: str) -> None:
    done = run(folder, "doctor", "--fetch", "http://192.0.2.1/x.png", redis_url=redis_server)
    assert "this installation has no torch" in done.stdout
    assert "this installation fetches nothing" in done.stdout
    assert done.stderr == ""


def test_a_module_of_ours_that_is_missing_is_a_bug(folder: Path) -> None:
    code = "import sys; sys.modules['worker.weights'] = None; from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", "list"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModuleNotFoundError" in done.stderr

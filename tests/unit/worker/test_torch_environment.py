"""The environment that a gpu worker starts torch in."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.servers import ROOT
from worker import torch_environment

pytestmark = pytest.mark.torch

NAMES = (
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "TORCH_COMPILE_DISABLE",
)


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that its value is restored after the test
        monkeypatch.delenv(name)


def settings() -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_the_allocator_and_the_folders_of_compiled_code_are_set(tmp_path: Path) -> None:
    torch_environment.prepare(tmp_path)
    assert settings() == {
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled"),
        "TRITON_CACHE_DIR": str(tmp_path / "compiled" / "triton"),
    }
    assert list((tmp_path / "compiled").iterdir()) == []


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_an_allocator_that_the_operator_has_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "expandable_segments:False")
    torch_environment.prepare(tmp_path)
    allocators = {key: value for key, value in settings().items() if "ALLOC" in key}
    assert allocators == {name: "expandable_segments:False"}


def test_folders_that_the_operator_has_set_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/one")
    torch_environment.prepare(tmp_path)
    assert settings()["TORCHINDUCTOR_CACHE_DIR"] == "/one"
    assert settings()["TRITON_CACHE_DIR"] == str(tmp_path / "compiled" / "triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/other")
    torch_environment.prepare(tmp_path / "unused")
    assert settings()["TRITON_CACHE_DIR"] == "/other"
    assert not (tmp_path / "unused").exists()


def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "compiled").write_text("a file in its place")
    torch_environment.prepare(tmp_path)
    assert Path(settings()["TORCHINDUCTOR_CACHE_DIR"]).parent == temporary
    assert Path(settings()["TRITON_CACHE_DIR"]).parent.parent == temporary
    assert f"compiled code cannot be kept in {tmp_path / 'compiled'}: File exists" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_disks_that_are_full_turn_compilation_off_and_do_not_stop_the_worker(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def fails(_file: int, _offset: int, _size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", fails)
    torch_environment.prepare(tmp_path)
    assert settings()["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCHINDUCTOR_CACHE_DIR" not in settings()
    assert os.strerror(number) in caplog.text
    assert "nothing is compiled" in caplog.text


_GPU_WORKER = """
import sys
from types import SimpleNamespace
from models.errors import CheckpointError

def load_checkpoint(settings):
    raise CheckpointError("of the test")

# These load diffusers, which takes four seconds; nothing else of the worker may.
sys.modules["worker.model"] = SimpleNamespace(load_checkpoint=load_checkpoint, metered_device=None)
sys.modules["worker.library_logging"] = SimpleNamespace(silence_libraries=lambda: None)
from worker import main, torch_environment
prepare = torch_environment.prepare

def watched(data_dir):
    assert "torch" not in sys.modules
    assert "triton" not in sys.modules
    prepare(data_dir)

torch_environment.prepare = watched
assert main.run_gpu() == 78
assert "diffusers" not in sys.modules
import torch
print(torch._C._accelerator_getAllocatorSettings())
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir())
from triton import knobs
print(knobs.cache.dir)
"""


def test_a_gpu_worker_prepares_it_before_torch_starts(tmp_path: Path, redis_server: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _GPU_WORKER],
        cwd=ROOT,
        env=os.environ | {"DATA_DIR": str(tmp_path), "REDIS_URL": redis_server},
        capture_output=True,
        text=True,
        check=True,
    )
    compiled = tmp_path / "compiled"
    read_by_torch = ["expandable_segments:True", str(compiled), str(compiled / "triton")]
    assert result.stdout.splitlines() == read_by_torch


_START = """
import signal, sys
from pathlib import Path
from worker import main, torch_environment

signal.signal(signal.SIGTERM, main._exit_at_once)
torch_environment.prepare(Path(sys.argv[1]))
import torch
from models.flux.compilation import compile_blocks, compile_stats

class Block(torch.nn.Linear):  # one call of a library: no C++ compiler, which takes 5 s
    pass

class OtherBlock(torch.nn.Linear):
    def forward(self, x):
        return torch.sin(super().forward(x)).softmax(-1) + x

blocks = [Block(16, 16), OtherBlock(16, 16)][: int(sys.argv[2])]
compile_blocks(blocks)
with torch.inference_mode():
    for block in blocks:
        block(torch.randn(8, 16))
        print(compile_stats(), flush=True)
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler on the CPU")
def test_a_start_that_is_cut_short_keeps_what_it_has_compiled(tmp_path: Path) -> None:
    """SIGTERM while the second block compiles: the next start finds the first one."""
    # Neither vector instructions nor headers of its own: their compilation takes most of the time.
    faster = {"ATEN_CPU_CAPABILITY": "default", "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0"}

    def start(blocks: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _START, str(tmp_path), str(blocks)]
        environment = os.environ | faster
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    with start(blocks=2) as first:
        assert first.stdout is not None
        assert "graphs=1" in first.stdout.readline()
        first.terminate()
        assert first.stdout.read() == ""
    assert first.returncode == 0
    with start(blocks=1) as second:
        assert second.stdout is not None
        *_, last = second.stdout
    assert second.returncode == 0
    assert "graphs=1" in last
    assert "cache_hits=1, cache_misses=0" in last
    assert list(tmp_path.rglob("*.tmp")) == []

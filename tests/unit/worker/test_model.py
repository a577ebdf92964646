"""How a gpu worker starts: the profiles it warms, what it logs, and how it fails."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from redis import Redis

from app.core.queueing.startups import starting_workers
from app.core.settings import Settings
from app.core.system.exit import EXIT_CONFIG
from models.checkpoints import CHECKPOINTS
from models.flux.compilation import CompileStats
from models.spec import GenerationSpec
from tests.support.waiting import until
from worker import main, model, torch_environment
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

NO_8_BITS = {"exact": "exact", "fast": "exact", "turbo": "exact"}
ALL = {"exact": "exact", "fast": "fast", "turbo": "turbo"}
ONLY_8_BITS = {"exact": "fast", "fast": "fast", "turbo": "turbo"}


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The profile of each picture of a warm-up."""

    def generate(_loaded: Any, spec: GenerationSpec, *_: Any, **__: Any) -> None:
        profiles.append(spec.profile)

    profiles: list[str] = []
    monkeypatch.setattr(model, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(model, "generate", generate)
    return profiles


def start(monkeypatch: pytest.MonkeyPatch, served: dict[str, str], **settings: Any) -> None:
    """load_checkpoint with a memory plan that serves each profile as `served` says."""
    loaded = SimpleNamespace(
        checkpoint=CHECKPOINTS["demo"],
        networks=SimpleNamespace(profile=served.__getitem__),
        device=torch.device("cpu"),
        dtype=torch.float32,
        preview=None,
    )
    monkeypatch.setattr(model, "load", lambda _checkpoint, _device, **_: loaded)
    monkeypatch.setattr(model, "_warm_up_with_lora", lambda *_: None)  # it needs real layers
    model.load_checkpoint(Settings(**settings))


@pytest.mark.parametrize(
    ("served", "settings", "expected"),
    [
        (ALL, {}, ["exact"]),
        (ALL, {"profile": "fast"}, ["fast"]),
        (ONLY_8_BITS, {}, ["fast"]),
        (ALL, {"warm_profiles": ("turbo", "fast")}, ["exact", "turbo", "fast"]),
        (ALL, {"warm_profiles": ("exact", "fast", "fast")}, ["exact", "fast"]),
        (ONLY_8_BITS, {"warm_profiles": ("fast",)}, ["fast"]),
    ],
)
def test_profile_and_the_warm_profiles_are_warmed_once(
    monkeypatch: pytest.MonkeyPatch,
    warmed: list[str],
    served: dict[str, str],
    settings: dict[str, Any],
    expected: list[str],
) -> None:
    start(monkeypatch, served, **settings)
    assert list(dict.fromkeys(warmed)) == expected
    assert len({warmed.count(profile) for profile in expected}) == 1


def test_a_profile_that_the_plan_does_not_serve_is_logged_and_skipped(
    monkeypatch: pytest.MonkeyPatch, warmed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    start(monkeypatch, NO_8_BITS, warm_profiles=("fast",))
    assert set(warmed) == {"exact"}
    assert "fast is not warmed, the memory plan serves it as exact" in caplog.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flux-dev-union-pro", ["canny", "depth", "pose"]),
        ("flux-dev-union-pro-2", ["canny", "depth", "pose", "softedge"]),
    ],
)
def test_the_detectors_of_the_checkpoint_are_warmed(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: list[str]
) -> None:
    controls: list[str] = []
    monkeypatch.setattr(
        model, "generate", lambda _loaded, spec, *_, **__: controls.append(spec.control)
    )
    loaded: Any = SimpleNamespace(
        checkpoint=CHECKPOINTS[name], device=torch.device("cpu"), preview=None
    )
    model._warm_up(loaded, "exact")
    assert controls == expected


@pytest.mark.usefixtures("warmed")
def test_compilation_and_the_size_of_its_cache_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "fxgraph").mkdir()
    (tmp_path / "fxgraph" / "one").write_bytes(bytes(1_000_000))
    (tmp_path / "other").write_bytes(bytes(500_000))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(model, "compile_stats", lambda: CompileStats(4, 61.25, 3, 1))
    with caplog.at_level("INFO"):
        start(monkeypatch, ALL)
    line = f"compiled 4 graphs in 61.2 s, 3 from the cache and 1 new; {tmp_path} holds 1.5 MB"
    assert line in caplog.messages


@pytest.mark.usefixtures("warmed")
def test_a_start_that_compiles_nothing_logs_no_compilation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model, "compile_stats", lambda: CompileStats(0, 0.0, 0, 0))
    with caplog.at_level("INFO"):
        start(monkeypatch, ALL)
    assert "compiled" not in caplog.text


@pytest.fixture
def gpu_worker(worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """main.run_gpu() can be called: it changes neither the environment nor the libraries."""
    monkeypatch.setattr(torch_environment, "prepare", lambda _data_dir: None)
    monkeypatch.setattr(main, "silence_libraries", lambda: None)
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield worker_runtime
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    for thread in threading.enumerate():
        if thread.name == "startup":
            thread.join(5)  # it still uses the connection that the next fixture closes


ECC = "CUDA error: uncorrectable ECC error encountered"
ILLEGAL = "Triton Error [CUDA]: an illegal memory access was encountered"


@pytest.mark.usefixtures("gpu_worker")
@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (torch.AcceleratorError(ECC), 71, f"AcceleratorError: {ECC}"),
        (RuntimeError(ILLEGAL), EXIT_CONFIG, f"RuntimeError: {ILLEGAL}"),
        (torch.OutOfMemoryError("CUDA out of memory."), EXIT_CONFIG, "too little free memory"),
        (MemoryError(), EXIT_CONFIG, "the host has too little free memory"),
        (RuntimeError("cuBLAS\nat line 3"), EXIT_CONFIG, "RuntimeError: cuBLAS"),
        (KeyError("kernel"), EXIT_CONFIG, "KeyError: 'kernel'"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("step", "subject"), [("load", "cannot be served"), ("_warm_up", "failed its warm-up")]
)
def test_an_error_of_the_start_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    subject: str,
    error: Exception,
    exit_code: int,
    reason: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(model, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(model, "load", lambda *_, **__: None)
    monkeypatch.setattr(model, "_served_profiles", lambda *_: ["exact"])
    monkeypatch.setattr(model, step, fail)
    with caplog.at_level("INFO", logger="worker.main"):
        assert main.run_gpu() == exit_code
    [record] = [record for record in caplog.records if record.name == "worker.main"]
    assert record.message.startswith(f"checkpoint demo {subject}: ")
    assert reason in record.message
    assert "\n" not in record.message
    assert record.exc_info is None
    with caplog.at_level("DEBUG", logger="worker.main"):
        main.run_gpu()
    assert caplog.records[-1].exc_info is not None


@pytest.mark.usefixtures("gpu_worker")
def test_a_gpu_worker_is_announced_while_it_loads(
    monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    def load(_settings: Settings) -> None:
        until(lambda: bool(starting_workers(redis)), "the announcement", 5)

    def work(*_: object) -> int:
        assert starting_workers(redis) == []
        return 0

    monkeypatch.setattr(model, "load_checkpoint", load)
    monkeypatch.setattr(model, "metered_device", lambda _loaded: None)
    monkeypatch.setattr(main, "_work", work)
    assert main.run_gpu() == 0
    assert redis.hexists("measured", "startup_s:demo")

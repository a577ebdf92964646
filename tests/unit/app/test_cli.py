"""What cannot work ends with one line that names it and the remedy, and a code that is not 0."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.cli import main
from app.core.settings import EXIT_CONFIG
from app.supervisor import Supervisor
from models.errors import CheckpointError
from tests.support.servers import free_port, running_redis
from worker.runtime import runtime

NOBODY = "redis://ann:secret@127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """This process stays what it is, and does not wait long for Redis."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.core.connection.RETRIES", 1)
    monkeypatch.setattr("worker.main.os.nice", lambda _by: None)
    monkeypatch.setattr("worker.main.signal.signal", lambda _signum, _handler: None)
    runtime.cache_clear()
    yield
    runtime.cache_clear()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, int]:
    """(the one line on stderr, the exit code)."""
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        return str(stopped.code), 1  # so Python does: a text goes to stderr and the code is 1
    [line] = capsys.readouterr().err.splitlines()
    return line, code


API = ["api", "--port", "0"]


@pytest.mark.parametrize(
    "command",
    [API, ["worker", "cpu"], ["worker", "gpu"], ["keys", "list"], ["up"]],
    ids=" ".join,
)
def test_a_redis_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", NOBODY)
    if command == ["up"]:
        command = ["up", "--port", str(free_port())]
    line, code = said(capsys, *command)
    assert line.startswith(f"{command[0]}: Redis at redis://127.0.0.1:9/0 cannot be reached (")
    assert line.endswith("; start it, or correct REDIS_URL")
    assert "\n" not in line
    assert "secret" not in line
    assert code == 1


@pytest.fixture(scope="module")
def closed_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that wants a password."""
    with running_redis(tmp_path_factory.mktemp("closed")) as url, Redis.from_url(url) as redis:
        redis.config_set("requirepass", "right")
        yield url


@pytest.mark.parametrize("secret", ["", "?password=wrong"], ids=["missing", "wrong"])
@pytest.mark.parametrize("command", [API, ["worker", "cpu"], ["keys", "list"]], ids=" ".join)
def test_a_secret_that_is_missing_or_wrong(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    closed_redis: str,
    command: list[str],
    secret: str,
) -> None:
    monkeypatch.setenv("REDIS_URL", closed_redis + secret)
    line, code = said(capsys, *command)
    assert line.startswith("Redis refuses the password" if secret else "Redis wants a password")
    assert "REDIS_PASSWORD or into REDIS_URL" in line
    assert code == 1


@pytest.mark.parametrize("command", [API, ["worker", "cpu"]], ids=" ".join)
def test_a_folder_for_pictures_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    redis_server: str,
    tmp_path: Path,
    command: list[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("BLOB_URL", f"file://{tmp_path}/file/blobs")
    line, code = said(capsys, *command)
    assert line == f"{command[0]}: BLOB_URL: {tmp_path}/file/blobs: Not a directory"
    assert code == EXIT_CONFIG


def test_a_bucket_without_its_library(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("BLOB_URL", "s3://bucket")
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "app.core.s3_blobs", raising=False)
    line, _ = said(capsys, *API)
    assert line == "api: BLOB_URL names S3, which needs boto3; install the extra s3"


def test_a_full_disk(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(_self: Supervisor) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "data"))

    monkeypatch.setattr(Supervisor, "run", run)
    line, code = said(capsys, "up")
    assert line == (
        f"up: {tmp_path}/data: No space left on device; make room, or set DATA_DIR to a folder "
        "that can be written"
    )
    assert code == 1


def test_a_model_that_needs_a_gpu_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("CHECKPOINT", "flux-dev-union-pro")
    line, code = said(capsys, "worker", "gpu")
    assert "needs a GPU and no CUDA device is seen" in line
    assert code == EXIT_CONFIG


def test_weights_of_a_model_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    line, code = said(capsys, "models", "download", "sdxl")
    assert line == "models: 'sdxl' is none of demo, flux-dev-union-pro"
    assert code == 2


def test_weights_that_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_part: object) -> None:
        raise CheckpointError("team/weights is gated: accept the licence at x and set HF_TOKEN")

    monkeypatch.setattr("models.checkpoints.weights.missing", refuse)
    line, code = said(capsys, "models", "download", "flux-dev-union-pro")
    assert line == "models: team/weights is gated: accept the licence at x and set HF_TOKEN"
    assert code == EXIT_CONFIG


def test_what_only_a_worker_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "worker.main", raising=False)
    line, code = said(capsys, "worker", "cpu")
    assert line == "worker: PIL is not installed; install the extra worker"
    assert code == EXIT_CONFIG


def test_the_models_that_can_be_served(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "demo  (CHECKPOINT)"
    assert any("FLUX.1-dev@3de623fc" in line and "not on this disk" in line for line in lines)
    assert main(["models", "download", "demo"]) == 0

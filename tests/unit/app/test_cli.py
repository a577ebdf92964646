"""The command line: a failure prints one line with cause and remedy and returns a code above 0."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from app.cli import main
from app.core.system.exit import EXIT_CONFIG
from app.standalone.redis_repair import repair_command
from app.standalone.supervisor import Supervisor
from models.errors import CheckpointError
from tests.support.servers import environment, free_port, running_redis
from worker.runtime import runtime

NOBODY = "redis://ann:secret@127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """This process stays what it is, and does not wait long for Redis."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.core.redis.connection.RETRIES", 1)
    monkeypatch.setattr("worker.main.os.nice", lambda _by: None)
    monkeypatch.setattr("worker.main.gc.freeze", lambda: None)
    monkeypatch.setattr("worker.main.signal.signal", lambda _signum, _handler: None)
    runtime.cache_clear()
    yield
    runtime.cache_clear()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, int]:
    """(the one line on stderr, the exit code)."""
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        if not isinstance(stopped.code, int):
            assert capsys.readouterr().err == ""
            return str(stopped.code), 1  # so Python does: a text goes to stderr and the code is 1
        code = stopped.code
    [line] = capsys.readouterr().err.splitlines()
    return line, code


def left_alone(*arguments: str, **settings: str) -> tuple[str, int]:
    """said(), of `up` in a process of its own: it ends all children of its process."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", "--port", str(free_port()), *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    [line] = done.stderr.splitlines()
    return line, done.returncode


API = ["api", "--port", "0"]


VERIFY = ["receipt", "verify", "receipt.json"]

GPU_WORKER = pytest.param(["worker", "gpu"], marks=pytest.mark.torch)


@pytest.fixture
def _receipt() -> None:
    Path("receipt.json").write_text('{"receipt": {}, "signature": {"value": "x"}}')


@pytest.mark.usefixtures("_receipt")
@pytest.mark.parametrize(
    "command",
    [API, ["worker", "cpu"], ["keys", "list"], VERIFY, ["up"], GPU_WORKER],
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


def test_sentinels_that_do_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis+sentinel://:secret@127.0.0.1:9/pictures")
    line, code = said(capsys, "up", "--port", str(free_port()))
    assert line == (
        "up: Redis at redis+sentinel://127.0.0.1:9/pictures cannot be reached (no Sentinel "
        "answers, or none knows pictures); start them, or correct REDIS_URL"
    )
    assert code == 1


@pytest.mark.usefixtures("_receipt")
@pytest.mark.parametrize("command", [["keys", "list"], VERIFY, ["up"], ["doctor"]], ids=" ".join)
def test_a_command_does_not_wait_long_for_a_redis_that_is_frozen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("app.core.redis.connection.RETRIES", 20)
    monkeypatch.setattr("app.core.redis.startup_check._TIMEOUT_S", 0.2)
    monkeypatch.setattr("worker.doctor.examine_model", lambda *_: [])
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
        began = time.monotonic()
        if command == ["doctor"]:
            assert main(command) == 1
        else:
            assert "cannot be reached (Timeout" in said(capsys, *command)[0]
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("command", ["up", "api"])
@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_does_not_exist(
    capsys: pytest.CaptureFixture[str], command: str, port: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, f"--port={port}"])
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"argument --port: '{port}' is none of 0 to 65535")


@pytest.fixture(scope="module")
def closed_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that wants a password."""
    with running_redis(tmp_path_factory.mktemp("closed")) as url, Redis.from_url(url) as redis:
        redis.config_set("requirepass", "right")
        yield url


@pytest.mark.parametrize("secret", ["", "?password=wrong"], ids=["missing", "wrong"])
@pytest.mark.usefixtures("_receipt")
@pytest.mark.parametrize(
    "command", [API, ["worker", "cpu"], ["keys", "list"], VERIFY, ["up"]], ids=" ".join
)
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
    assert "REDIS_PASSWORD or in REDIS_URL" in line
    assert code == EXIT_CONFIG


def test_a_password_alone_names_a_redis_that_is_not_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.core.redis.startup_check.client_without_retries", lambda _url: Redis(port=9)
    )
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    line, code = said(capsys, "up", "--port", str(free_port()))
    assert line.startswith("up: Redis at redis://127.0.0.1:6379/0 cannot be reached (")
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
    monkeypatch.delitem(sys.modules, "app.core.storage.s3", raising=False)
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
    assert code == EXIT_CONFIG


def test_a_disk_with_next_to_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "app.standalone.supervisor.shutil.disk_usage", lambda _: SimpleNamespace(free=4e7)
    )
    line, code = said(capsys, "up")
    assert line == (
        f"up: 40 MB are free for {tmp_path}/data; make room, or set DATA_DIR to a folder on "
        "another disk"
    )
    assert code == EXIT_CONFIG


def test_the_folder_is_the_one_of_the_settings_unless_an_option_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = []

    def run(supervisor: Supervisor) -> int:
        folders.append(supervisor._data_dir)
        return 0

    monkeypatch.setattr(Supervisor, "run", run)
    assert main(["up"]) == 0
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    assert main(["up"]) == 0
    assert main(["up", "--data-dir", "given"]) == 0
    assert folders == [tmp_path / name for name in ("data", "elsewhere", "given")]


def test_a_redis_of_its_own_that_cannot_read_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "redis"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof").write_bytes(b"no commands")
    line, code = left_alone("--data-dir", str(tmp_path / "data"))
    assert line.startswith("up: its Redis ends at once, saying 'Bad file format reading the append")
    assert f"; `{repair_command(tmp_path / 'data')}` keeps what comes before" in line
    assert "--fix" not in line
    assert line.endswith(f"; see {folder}/redis.log and correct that")
    assert code == EXIT_CONFIG


@pytest.mark.torch
def test_a_model_that_needs_a_gpu_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("CHECKPOINT", "flux-dev-union-pro")
    line, code = said(capsys, "worker", "gpu")
    assert "needs a GPU and no CUDA device is seen" in line
    assert code == EXIT_CONFIG


@pytest.mark.parametrize(
    ("code", "arguments", "waits"),
    [
        (EXIT_CONFIG, ["--back-off", "600"], [(600.0, EXIT_CONFIG)]),
        (EXIT_CONFIG, [], []),
        (0, ["--back-off", "600"], []),
        (71, ["--back-off", "600"], []),
    ],
)
def test_a_worker_backs_off_only_if_its_model_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
    redis_server: str,
    tmp_path: Path,
    code: int,
    arguments: list[str],
    waits: list[tuple[float, int]],
) -> None:
    exits: list[tuple[float, int]] = []
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr("app.commands.worker.run_worker", lambda _kind: code)
    monkeypatch.setattr("app.cli.exit_later", lambda *wait: exits.append(wait))
    assert main(["worker", "gpu", *arguments]) == code
    assert exits == waits


@pytest.mark.parametrize("back_off", ["-1", "soon", "inf", "nan"])
def test_a_back_off_that_is_no_time(capsys: pytest.CaptureFixture[str], back_off: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["worker", "gpu", f"--back-off={back_off}"])
    assert stopped.value.code == 2
    assert "--back-off" in capsys.readouterr().err


def test_weights_of_a_model_that_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.weights.silence_libraries", None)  # it would import torch
    line, code = said(capsys, "models", "download", "sdxl")
    models = "demo, flux-dev-union-pro, flux-dev-union-pro-2"
    annotators = "depth-anything-v2-small, dwpose, blazepose"
    assert line == f"models: 'sdxl' is none of {models}, {annotators}"
    assert code == EXIT_CONFIG


def test_weights_that_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_part: object) -> None:
        raise CheckpointError("team/weights is gated: accept the licence at x and set HF_TOKEN")

    monkeypatch.setattr("models.checkpoints.weights.missing", refuse)
    line, code = said(capsys, "models", "download", "flux-dev-union-pro")
    assert line == "models: team/weights is gated: accept the licence at x and set HF_TOKEN"
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

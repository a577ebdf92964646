"""How commands find the server of `up` in the same checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from app.cli import main
from app.core.accounts.api_keys import KeyStore, Terms
from app.core.settings import Settings
from app.core.system.exit import EXIT_CONFIG
from app.doctor.machine import examine_machine
from app.standalone import running_server as module
from app.standalone.embedded_redis import redis_url
from app.standalone.running_server import announced, of_running_server, running_servers
from tests.support.servers import ROOT, running_redis


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own, and a working directory without a server."""
    monkeypatch.setattr(module, "running_servers", running_servers)  # instead of none
    for name in ("tmp", "cwd"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("REDIS_URL", "REDIS_PASSWORD", "DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_server_is_found_while_it_runs_and_by_its_own_checkout(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running_servers() == []
    with announced(place / "b"), announced(place / "a"):
        assert set(running_servers()) == {place / "a", place / "b"}
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(module, "_CHECKOUT", place)
            assert running_servers() == []
    assert running_servers() == []
    assert [path for path in (place / "tmp").rglob("*") if path.is_file()] == []


def test_a_server_that_was_killed_is_not_found(place: Path) -> None:
    program = (
        "import os, pathlib\n"
        "from app.standalone.running_server import announced\n"
        f"with announced(pathlib.Path({str(place / 'a')!r})):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=60)
    assert [path.read_text() for path in (place / "tmp").rglob("*") if path.is_file()] == [
        str(place / "a")
    ]
    assert running_servers() == []
    with announced(place / "a"):
        assert running_servers() == [place / "a"]


def test_the_names_of_servers_are_private_to_their_user(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that another user has made in its place is not used, and stops no server."""
    with announced(place / "a"):
        [folder] = (place / "tmp").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(place)
    with announced(place / "a"):
        assert running_servers() == []
    assert f"commands need DATA_DIR={place / 'a'} to find this server" in caplog.text


def test_without_a_server_the_settings_stay() -> None:
    found = of_running_server(Settings())
    assert (found.redis_url, found.data_dir) == ("redis://127.0.0.1:6379/0", Path("data").resolve())


def test_commands_use_the_redis_and_the_folder_of_the_running_server(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "served"
    with running_redis(folder) as url, announced(folder):
        with Redis.from_url(url) as redis:
            KeyStore(redis).create("team-a", Terms())
        assert main(["keys", "list"]) == 0
        assert "  team-a  " in capsys.readouterr().out
        found = of_running_server(Settings())
        assert (found.redis_url, found.data_dir) == (url, folder)
        [disk, *_] = examine_machine(found)
        assert str(folder) in disk.said


def test_the_default_folder_needs_no_name(place: Path) -> None:
    """As where a cleaner of temporary files has removed it."""
    folder = place / "cwd" / "data"
    with running_redis(folder) as url:
        assert of_running_server(Settings()).redis_url == url


def test_a_redis_that_the_settings_name_is_used(place: Path) -> None:
    folder = place / "served"
    with running_redis(folder), announced(folder):
        named = Settings(redis_url="redis://127.0.0.1:9/0")
        found = of_running_server(named)
        assert (found.redis_url, found.data_dir) == ("redis://127.0.0.1:9/0", folder)


def test_a_socket_of_a_dead_redis_is_not_used(place: Path) -> None:
    folder = place / "served"
    with running_redis(folder):
        pass
    Path(redis_url(folder).removeprefix("unix://")).touch()
    with announced(folder):
        assert of_running_server(Settings()).redis_url == "redis://127.0.0.1:6379/0"


def test_of_several_servers_the_settings_select_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        for name in ("a", "b"):
            stack.enter_context(announced(place / name))
        with pytest.raises(SystemExit) as stopped:
            main(["keys", "list"])
        assert stopped.value.code == EXIT_CONFIG
        [line] = capsys.readouterr().err.splitlines()
        assert "several servers run in this checkout; name one in DATA_DIR: " in line
        assert str(place / "a") in line
        monkeypatch.setenv("DATA_DIR", str(place / "b"))
        assert of_running_server(Settings()).data_dir == place / "b"
        monkeypatch.delenv("DATA_DIR")
        stack.enter_context(announced(place / "cwd" / "data"))
        assert of_running_server(Settings()).data_dir == place / "cwd" / "data"

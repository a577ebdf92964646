"""The commands of README and docs/operations.md: each is run here, is run by a test that is named
here, or says in its block what it needs that a test does not have. So is README's Python.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from app.commands.parser import make_parser
from app.core.accounts.api_keys import KeyStore, digest, key_id_of, mint
from app.core.redis.connection import connect
from app.standalone.embedded_redis import redis_command, redis_url
from tests.support.servers import ROOT, Server, free_port
from tools.imagerig.compose import services

PAGES = ("README.md", "docs/operations.md")
RUN_BY = {
    "scripts/up\n": "tests/lifecycle/test_up.py",  # through what the script calls
    "python -m app.cli redis repair\n": "tests/unit/app/standalone/test_redis_repair.py",
    "scripts/up --data-dir restored\n": "tests/contract/test_documented_commands.py",
}
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"# Needs (a GPU|a Docker engine|a cluster|an account|root|minutes)\b")
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"python -m (app\.cli [^`#;|\n]+)")


@dataclass(frozen=True)
class Block:
    page: str
    script: str


def blocks() -> list[Block]:
    return [
        Block(page, script)
        for page in PAGES
        for _, script in _BLOCK.findall((ROOT / page).read_text())
    ]


def to_be_run() -> list[Block]:
    return [one for one in blocks() if not _NEEDS.match(one.script) and one.script not in RUN_BY]


def test_every_block_is_accounted_for() -> None:
    assert len(blocks()) > len(to_be_run()) > 4
    scripts = {block.script for block in blocks()}
    for script, test in RUN_BY.items():
        assert script in scripts
        assert (ROOT / test).exists()


def test_the_commands_run_as_they_stand(server: Server, tmp_path: Path) -> None:
    """In their order, in the folder that `data` lies in; only names and addresses are changed."""
    folder = server.data_dir.parent
    (folder / "app").symlink_to(ROOT / "app")  # the samples, as in a clone
    with connect(server.redis_url) as redis:
        key = KeyStore(redis).add(mint(), "to be revoked")
    changes = {
        "http://localhost:8000": server.url,
        "keys revoke ID": f"keys revoke {key.id}",
    }
    environment = {
        **os.environ,
        "PATH": _path(),
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": "data",
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
    }
    for block in to_be_run():
        script = block.script
        for text, ours in changes.items():
            script = script.replace(text, ours)
        _run(script, folder, environment)
    assert (folder / "picture.jpg").stat().st_size > 0
    [program] = _PYTHON.findall((ROOT / "README.md").read_text())
    program = program.replace("http://localhost:8000", server.url)
    _run(f"python - <<'END'\n{program}END\n", folder, environment)
    with _redis(redis_command(folder / "restored"), redis_url(folder / "restored")) as restored:
        assert key_id_of(digest(server.key)) in {key.id for key in KeyStore(restored).all()}


def test_the_first_picture_is_that_of_a_sample() -> None:
    """Its parameters are those of the playground's sample, which show the control."""
    readme = (ROOT / "README.md").read_text()
    samples = json.loads((ROOT / "app/playground/samples/samples.json").read_text())
    [name] = set(re.findall(r"app/playground/samples/([\w.-]+)", readme))
    [values] = [sample["values"] for sample in samples if sample["file"] == name]
    for parameter, value in values.items():
        text = value if isinstance(value, str) else f"{value:g}"
        assert re.search(rf'-F {parameter}="?{re.escape(text)}"?\s', readme), parameter
        written = f'"{text}"' if isinstance(value, str) else text
        assert re.search(rf"^    {parameter}={re.escape(written)},$", readme, re.MULTILINE)


COMPOSE_STAND_IN = """#!/usr/bin/env bash
# Runs what is asked of the container of redis here, on the folders that stand for its own.
case "$2" in exec|run) ;; *) exit 0 ;; esac
while [ "$1" != redis ]; do shift; done
shift
command=()
for part; do command+=("$(sed -E "s#/(tmp|data|run/secrets)#$HERE/\\1#g" <<<"$part")"); done
exec "${command[@]}"
"""


def test_the_backup_of_compose_is_a_way_back_and_its_password_can_change(tmp_path: Path) -> None:
    """The blocks as they stand, with the command of compose's Redis and a stand-in for docker."""
    port = free_port()
    tools = tmp_path / "bin"
    for folder in (tools, *(tmp_path / name for name in ("secrets", "data", "tmp", "run"))):
        folder.mkdir()
    (tmp_path / "run" / "secrets").symlink_to("../secrets")
    secret = tmp_path / "secrets" / "redis_password"
    secret.write_text("first")
    cli = shutil.which("redis-cli", path=_path())
    scripts = {
        "docker": COMPOSE_STAND_IN,
        "redis-cli": f'#!/bin/sh\n[ "$1" = -s ] || set -- -p {port} "$@"\nexec {cli} "$@"\n',
    }
    for name, script in scripts.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{_path()}", "HERE": str(tmp_path)}
    described = services(ROOT / "docker-compose.yml")["redis"]
    assert described.command is not None
    command = [
        re.sub("/(data|run/secrets)", rf"{tmp_path}/\1", part).replace(
            "exec redis-server", f"exec redis-server --port {port}"
        )
        for part in described.command
    ]
    environment["MAXMEMORY"] = "1gb"

    def compose_redis(password: str) -> AbstractContextManager[Redis]:
        return _redis(command, f"redis://:{password}@127.0.0.1:{port}/0", environment)

    backup, restore, rotate = _of_compose()
    with compose_redis("first") as redis:
        redis.set("kept", "yes")
        _run(backup, tmp_path, environment)
        redis.set("later", "yes")
    _run(restore, tmp_path, environment)
    with compose_redis("first") as redis:
        assert redis.keys() == [b"kept"]
        _run(rotate, tmp_path, environment)
        new = secret.read_text()
        assert len(new) == 64
        for password in ("first", new):
            assert Redis(port=port, password=password).ping()
    with compose_redis(new) as redis:
        assert redis.keys() == [b"kept"]
        with pytest.raises(AuthenticationError):
            Redis(port=port, password="first").ping()


def _of_compose() -> list[str]:
    scripts = [one.script for one in blocks() if one.page == "docs/operations.md"]
    found = [script for script in scripts if "docker compose" in script and " redis sh " in script]
    assert len(found) == 3
    return found


@pytest.mark.parametrize("kept_in", ["aclfile", "redis.conf"])
def test_the_user_of_the_page_outlives_a_restart(kept_in: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    [rules] = re.findall(r"^ACL SETUSER (flux on >PASSWORD .*)$", page, re.MULTILINE)
    [save] = re.findall(r"^(ACL SAVE)$", page, re.MULTILINE)
    [rewrite] = re.findall(r"`(CONFIG REWRITE)` writes it into redis.conf", page)
    users, config = tmp_path / "users.acl", tmp_path / "redis.conf"
    users.touch()
    socket = tmp_path / "redis.sock"
    lines = [f'dir "{tmp_path}"', "port 0", f'unixsocket "{socket}"']
    lines += [f'aclfile "{users}"'] if kept_in == "aclfile" else []
    config.write_text("\n".join(lines) + "\n")
    server = shutil.which("redis-server", path=_path())
    assert server is not None
    with _redis([server, str(config)], f"unix://{socket}") as redis:
        redis.execute_command("ACL", "SETUSER", *rules.split())
        redis.execute_command(*(save if kept_in == "aclfile" else rewrite).split())
    own = f"unix://flux:PASSWORD@{socket}"
    with _redis([server, str(config)], own) as redis, pytest.raises(NoPermissionError):
        redis.config_get("dir")


def _path() -> str:
    """As after `. .venv/bin/activate`, which is all that the pages ask for."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def _run(script: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"


@contextmanager
def _redis(
    command: list[str], url: str, environment: dict[str, str] | None = None
) -> Iterator[Redis]:
    """The Redis of this command, once it answers at this URL, until the end of the block."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        with connect(url) as redis:
            while True:
                assert process.poll() is None, command
                try:
                    redis.ping()
                    break
                except (BusyLoadingError, RedisConnectionError):
                    time.sleep(0.05)
            yield redis
    finally:
        process.terminate()
        process.wait(30)


def every_page() -> list[str]:
    return sorted(
        str(one.relative_to(ROOT)) for at in ("*.md", "docs/*.md") for one in ROOT.glob(at)
    )


@pytest.mark.parametrize("page", every_page())
def test_the_command_line_knows_what_the_pages_say(page: str) -> None:
    for command in _INLINE.findall((ROOT / page).read_text()):
        words = [word for word in shlex.split(command)[1:] if "[" not in word]
        if words and words[-1] not in ("COMMAND", "keys"):
            make_parser().parse_args(words)

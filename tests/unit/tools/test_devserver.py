"""scripts/dev: starts fast with a stub of the model, follows the code, and leaves no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.pictures import astronaut, base64_of
from tests.support.servers import ROOT, environment, free_port
from tests.support.waiting import until
from tools.devserver.sources import Sources

pytestmark = pytest.mark.tools


def processes_with(data_dir: Path) -> list[str]:
    """Command lines of the living processes that name this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(data_dir).encode() in line + b"\0" + environ:
                found.append(line.replace(b"\0", b" ").decode())
    return found


def a_picture(url: str, key: str) -> httpx.Response:
    body = {"image": base64_of(astronaut((64, 64))), "prompt": "x", "seed": 255}
    headers = {"x-api-key": key}
    return httpx.post(f"{url}/v1/flux-controlnet", json=body, headers=headers, timeout=60)


def test_dev_server_makes_a_picture_follows_the_code_and_leaves_nothing(tmp_path: Path) -> None:
    data_dir, log = tmp_path / "data", tmp_path / "log"
    options = ["--port", str(free_port()), "--data-dir", str(data_dir), "--seconds", "0.2"]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.devserver", *options],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
        began = time.monotonic()
    assert process.stdout is not None
    with process.stdout as printed:
        _, url, _, key = printed.readline().split()
        assert time.monotonic() - began < 60  # some 5 s; much more where all cores are busy
        assert a_picture(url, key).headers["content-type"].startswith("image/")
        os.utime(ROOT / "app" / "main.py")
        until(lambda: "app/main.py changed: restarting" in log.read_text(), "the restart")
        until(lambda: is_ready(url), "the new processes")
        assert a_picture(url, key).status_code == 200
        assert len(processes_with(data_dir)) > 5
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert processes_with(data_dir) == []


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_sources_names_what_was_changed_added_and_removed(tmp_path: Path) -> None:
    first, gone = tmp_path / "a.py", tmp_path / "b.lua"
    for file in (first, gone, tmp_path / "c.txt"):
        file.write_text("")
    sources = Sources([tmp_path])
    assert sources.changed() == []
    os.utime(first, (1, 1))
    gone.unlink()
    (tmp_path / "new").mkdir()
    new = tmp_path / "new" / "d.py"
    new.write_text("")
    os.utime(tmp_path / "c.txt", (1, 1))
    assert sources.changed() == [first, gone, new]
    assert sources.changed() == []

"""Starts the measured processes: a Redis, single server processes on free ports, and a load."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from app.standalone.embedded_redis import redis_command, redis_url

ROOT = Path(__file__).resolve().parents[2]
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Process:
    """A server process; port is 0 for a worker."""

    pid: int
    port: int

    def load(self, connections: int, raw: Sequence[str], **bound: float) -> dict[str, Any]:
        """Figures of a load on this server (see load.py), with its CPU time per request."""
        [(name, value)] = bound.items()
        before = self.cpu_s
        command = [sys.executable, "-m", "tools.apibench.load", str(self.port), str(connections)]
        done = subprocess.run(
            [*command, f"--{name}", str(value)],
            input=json.dumps(raw),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=ROOT,
        )
        figures: dict[str, Any] = json.loads(done.stdout)
        if set(figures["statuses"]) != {"200"}:
            raise SystemExit(f"not all was answered with 200: {figures['statuses']}")
        figures["cpu_us"] = (self.cpu_s - before) / figures["requests"] * 1e6
        return figures

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """URL of a Redis as `scripts/up` runs it."""
    url = redis_url(folder)
    process = subprocess.Popen(redis_command(folder))
    try:
        _wait_for(lambda: _pings(url), process)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running(*module: str, path: str | None, **settings: str) -> Iterator[Process]:
    """`python -m MODULE...`; a server has a `path` that answers 200 once it is up."""
    port = _free_port() if path else 0
    options = ["--port", str(port)] if path else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    folder = Path(settings["DATA_DIR"])
    with (folder / "log").open("ab") as sink:  # a line an HTTP call, which costs what it costs
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *options], cwd=folder, env=environment, stderr=sink
        )
    try:
        if path:
            _wait_for(lambda: _answers(port, path), process)
        yield Process(process.pid, port)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int, path: str) -> bool:
    """True when the server says 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def wait_until_ready(process: Process) -> None:
    """Wait until a request to this api would succeed: its workers are registered."""
    _wait_for(lambda: _answers(process.port, "/health/ready"))


def _wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None
) -> None:
    deadline = time.monotonic() + _START_S
    while not condition():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not up within {_START_S:.0f} s")
        time.sleep(0.05)


def _pings(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

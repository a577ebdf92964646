"""Real processes for tests: the whole server, single api processes, a bare Redis."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.core.accounts.api_keys import KeyStore, mint
from app.core.redis.connection import connect
from app.standalone.embedded_redis import redis_command, redis_url

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Server:
    """A running server. url has no path; log is where its processes write; printed: its line."""

    url: str
    key: str
    data_dir: Path
    process: subprocess.Popen[str]
    log: Path
    printed: str

    @property
    def redis_url(self) -> str:
        return redis_url(self.data_dir)

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key}


def free_port() -> int:
    """Below the range in which an outgoing connection, of anyone, may take a port meanwhile."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**settings: str) -> dict[str, str]:
    """The environment of a child: ours without this project's own settings, plus `settings`."""
    own = {"REDIS_URL", "PUBLIC_URL", "ALLOWED_HOSTS", "FETCH_ALLOW_HOSTS", "CHECKPOINT"}
    own |= {"DATABASE_URL", "API_KEY", "API_KEY_FILE", "SSL_CERT_FILE"}
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    return {**inherited, "PYTHONPATH": str(ROOT), **settings}


def start_server(data_dir: Path, *arguments: str, **settings: str) -> Server:
    """`python -m app.cli up` on a free port, once it has printed its ready line."""
    port = free_port()
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("a") as sink:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "app.cli", "up", "--port", str(port)),
                *("--data-dir", str(data_dir), *arguments),
            ],
            cwd=ROOT,
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
    line = _first_line(process, START_TIMEOUT_S)
    if not line.startswith("ready: "):
        raise AssertionError(f"no ready line but {line!r}; log:\n{log.read_text()}")
    _, url, _, key = line.split()
    if key.endswith("..."):  # masked, for it is not new
        key = settings.get("API_KEY") or (data_dir / "api-key").read_text().strip()
    return Server(url, key, data_dir, process, log, line.rstrip())


def _first_line(process: subprocess.Popen[str], timeout_s: float) -> str:
    """What the process says first; it is killed when that takes too long or is not said at all."""
    assert process.stdout is not None
    alarm = threading.Timer(timeout_s, process.kill)
    alarm.start()
    try:
        line = process.stdout.readline()
    finally:
        alarm.cancel()
    if not line:
        process.wait()
        process.stdout.close()
    return line


def stop_server(server: Server, timeout_s: float = 60) -> None:
    server.process.terminate()
    server.process.wait(timeout_s)
    assert server.process.stdout is not None
    server.process.stdout.close()


@contextmanager
def paused(server: Server, command: str) -> Iterator[None]:
    """The server's own processes with this in their command line stand still meanwhile."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    pids = [
        int(child)
        for child in children.read_text().split()
        if command in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    ]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def running_server(data_dir: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    server = start_server(data_dir, *arguments, **settings)
    try:
        yield server
    finally:
        stop_server(server)


@contextmanager
def running_api(
    redis: str, *, ready: bool = True, port: int | None = None, **settings: str
) -> Iterator[str]:
    """One more api process on a Redis that is already there; yields its URL.

    ready: wait until workers are there too, not only the process itself.
    port: where to listen, for tests whose settings or restarts must know it; a free one if None.
    """
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "api", "--port", str(port)],
        cwd=ROOT,
        env=environment(**{"REDIS_URL": redis, "DRAIN_S": "0", **settings}),
    )
    try:
        wait_for_http(port, "/health/ready" if ready else "/health/live", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for_http(
    port: int, path: str, process: subprocess.Popen[bytes], address: str = "127.0.0.1"
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the process ended before it answered"
        connection = http.client.HTTPConnection(address, port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise AssertionError(f"no 200 from {path} within {START_TIMEOUT_S:g} s")


@contextmanager
def running_redis(data_dir: Path) -> Iterator[str]:
    """A bare Redis of its own; yields its URL."""
    data_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(redis_command(data_dir))
    url = redis_url(data_dir)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with Redis.from_url(url) as client:
                    client.ping()
                break
            except (RedisError, OSError):
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def a_key(redis_url: str) -> str:
    """A new key that is valid on a Redis."""
    secret, client = mint(), connect(redis_url)
    KeyStore(client).add(secret, "tests")
    client.close()
    return secret

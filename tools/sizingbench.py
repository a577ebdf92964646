"""Measures the overhead of a request: CPU seconds by process, and memory in Redis.

Usage: scripts/bench sizing [--pictures N] [--json FILE]
Redis, the api, two cpu workers, one worker of each other kind, and for the gpu a stub of the model,
whose picture of 1024x1024 is noise, the slowest kind to encode; the control picture is a photograph
of that size from a host. CPU seconds do not depend on what else runs here, so a busy machine will
do. Needs no GPU; takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from app.core.accounts.api_keys import KeyStore, mint
from app.core.redis.connection import connect
from tests.support.pictures import astronaut, encoded, picture_host
from tests.support.servers import environment, free_port, running_redis, wait_for_http
from tools.overlapbench.__main__ import (
    CPU_WORKER,
    FETCH_WORKER,
    FINISH_WORKER,
    GPU_WORKER,
    MODEL_S,
    ROOT,
    deliver,
)

CPU_WORKERS = 2
_TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench sizing")
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: measure(Path(folder) / name, name, options.pictures) for name in FORMATS}
    for name, found in figures.items():
        print(f"{name}: " + ", ".join(f"{what} {value:.3f}" for what, value in found.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


FORMATS = ("png", "jpeg", "webp")


def measure(folder: Path, image_format: str, pictures: int) -> Figures:
    """For each picture: CPU seconds of each kind of process, megabytes that Redis has grown by."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(running_redis(folder / "redis"))
        redis = stack.enter_context(connect(redis_url))
        key = mint()
        KeyStore(redis).add(key, "bench")
        port = free_port()
        commands = {
            "api": ["-m", "app.cli", "api", "--port", str(port)],
            "gpu worker": [*GPU_WORKER, str(folder / "marks"), str(MODEL_S)],
            "fetch worker": FETCH_WORKER,
            "finish worker": FINISH_WORKER,
            **{f"cpu worker {number}": CPU_WORKER for number in range(CPU_WORKERS)},
        }
        running = {
            name: stack.enter_context(_process(command, redis_url))
            for name, command in commands.items()
        }
        wait_for_http(port, "/health/ready", running["api"])
        host = stack.enter_context(picture_host())
        image = host.serve("/photo.jpg", encoded(astronaut((1024, 1024)), "JPEG"), "image/jpeg")
        before = {name: cpu_seconds(process.pid) for name, process in running.items()}
        held = redis.info("memory")["used_memory"]
        http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": key}, timeout=30
        )
        deliver(stack.enter_context(http), pictures, image, image_format)
        spent = {name: cpu_seconds(process.pid) - before[name] for name, process in running.items()}
        grown = redis.info("memory")["used_memory"] - held
    workers = sum(spent.pop(f"cpu worker {number}") for number in range(CPU_WORKERS))
    seconds = {"cpu workers": workers, **spent}
    return {
        **{f"{name} s": value / pictures for name, value in seconds.items()},
        "redis MB": grown / pictures / 1e6,
    }


def cpu_seconds(pid: int) -> float:
    """Of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


@contextmanager
def _process(arguments: list[str], redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = environment(REDIS_URL=redis_url, FETCH_ALLOW_HOSTS="127.0.0.1", DRAIN_S="0")
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=settings)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()

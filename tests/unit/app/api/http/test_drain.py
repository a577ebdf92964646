"""An api process that is asked to leave, from the outside."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.servers import ROOT, environment, free_port, wait_for_http


@contextmanager
def api_process(redis_url: str, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "api", "--port", str(port)],
        cwd=ROOT,
        env=environment(REDIS_URL=redis_url, **settings),
    )
    try:
        wait_for_http(port, "/health/live", process)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(30)


def ready_checks(client: httpx.Client) -> tuple[int, bool]:
    answer = client.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["api"]


def test_a_draining_api_is_not_ready_and_still_serves(redis_server: str) -> None:
    with (
        api_process(redis_server, DRAIN_S="5") as (process, url),
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        before = client.get("/health/live")
        assert before.headers.get("connection") != "close"
        assert ready_checks(client) == (503, True)  # there are no workers
        process.send_signal(signal.SIGTERM)
        while ready_checks(client) != (503, False):
            assert process.poll() is None
        during = client.get("/health/live")
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        assert process.wait(30) == -signal.SIGTERM
        with pytest.raises(httpx.TransportError):
            client.get("/health/live")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_draining(redis_server: str, second: signal.Signals) -> None:
    with (
        api_process(redis_server, DRAIN_S="300") as (process, url),
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        process.send_signal(signal.SIGTERM)
        while ready_checks(client) != (503, False):
            assert process.poll() is None
        process.send_signal(second)
        process.wait(60)  # and not 300

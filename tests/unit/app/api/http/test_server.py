"""How uvicorn is set up: what it must not add, whom it must not believe, and how long it waits."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from app.api.http.drain import Drain, DrainingServer
from app.api.http.protocol import Awaited, BoundedProtocol
from app.api.http.server import serve
from app.core.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[DrainingServer]:
    """The servers that would run."""
    servers: list[DrainingServer] = []
    monkeypatch.setattr(DrainingServer, "run", lambda server: servers.append(server))
    return servers


@pytest.fixture(autouse=True)
def _files_as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def config(started: list[DrainingServer], **settings: Any) -> Any:
    drain = Drain()
    serve(FastAPI(), Settings(**settings), "::1", 8123, drain)
    [server] = started
    assert server._drain is drain
    return server.config


def test_uvicorn_adds_no_header_and_trusts_no_proxy(started: list[DrainingServer]) -> None:
    found = config(started)
    assert (found.host, found.port) == ("::1", 8123)
    assert (found.access_log, found.server_header, found.proxy_headers) == (False, False, False)
    assert found.log_config is None


def test_its_protocol_has_our_bounds(started: list[DrainingServer]) -> None:
    protocol = config(started, head_timeout_s=3, body_timeout_s=7).http
    assert issubclass(protocol, BoundedProtocol)
    assert protocol.timeout_s[Awaited.HEAD] == 3


@pytest.mark.parametrize(("grace_s", "waits_s"), [(2, 2), (2.1, 3), (10, 10)])
def test_in_flight_calls_get_the_grace_period(
    started: list[DrainingServer], grace_s: float, waits_s: int
) -> None:
    assert config(started, grace_s=grace_s).timeout_graceful_shutdown == waits_s


def test_draining_takes_as_long_as_the_setting_says(started: list[DrainingServer]) -> None:
    config(started, drain_s=4)
    assert started[0]._drain_s == 4


@pytest.mark.parametrize(
    ("level", "of_uvicorn"),
    [("debug", "debug"), ("info", "warning"), ("warning", "warning"), ("error", "error")],
)
def test_uvicorn_is_quieter_than_we_are(
    started: list[DrainingServer], level: str, of_uvicorn: str
) -> None:
    assert config(started, log_level=level).log_level == of_uvicorn


def test_a_process_may_have_as_many_files_as_the_system_allows(
    started: list[DrainingServer],
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    config(started)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)

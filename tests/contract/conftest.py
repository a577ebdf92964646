"""Clients of the contract tests. A recorder watches every response.

A redirect, HTML, a traceback or `{"detail": ...}` fails the test in which it occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
import schemathesis
from schemathesis.schemas import BaseSchema
from segmind import SegmindClient

from tests.support.servers import Server, free_port, running_api
from tests.support.wire import Wire

Connect = Callable[..., SegmindClient]
"""(base_url, key, timeout=120) -> the real client, watched, closed after the test."""


@pytest.fixture
def wire() -> Wire:
    """What the clients of this test have sent and been answered."""
    return Wire()


@pytest.fixture
def client(client: SegmindClient, wire: Wire) -> SegmindClient:
    """The real client, pointed at the server and watched."""
    wire.watch(client._client)
    return client


@pytest.fixture
def connect(wire: Wire) -> Iterator[Connect]:
    with ExitStack() as stack:

        def make(base_url: str, key: str | None, timeout: float = 120) -> SegmindClient:
            segmind = SegmindClient(api_key=key, base_url=base_url, timeout=timeout)
            stack.callback(segmind._client.close)
            wire.watch(segmind._client)
            return segmind

        yield make


@pytest.fixture
def http(server: Server, wire: Wire) -> Iterator[httpx.Client]:
    """A plain HTTP client with the key, for what the real client cannot send."""
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=120) as plain:
        wire.watch(plain)
        yield plain


@pytest.fixture(scope="session")
def document(server: Server) -> BaseSchema:
    """What /openapi.json says, to hold answers against."""
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.fixture(scope="session")
def strict_api(server: Server) -> Iterator[str]:
    """Another api process on the same Redis and workers, with small limits."""
    with running_api(
        server.redis_url,
        SYNC_TIMEOUT_S="0.05",
        MAX_BODY_BYTES="100000",
        MAX_PIXELS="65536",
    ) as url:
        yield url


@pytest.fixture(scope="session")
def short_lived_api(server: Server) -> Iterator[str]:
    """Another api process on the same Redis and workers; what it accepts lives for 8 seconds."""
    with running_api(server.redis_url, REQUEST_TTL_S="8") as url:
        yield url


@pytest.fixture
def strict(strict_api: str, server: Server, wire: Wire) -> Iterator[httpx.Client]:
    """A plain HTTP client of the api with small limits."""
    with httpx.Client(base_url=strict_api, headers=server.headers, timeout=120) as plain:
        wire.watch(plain)
        yield plain


@pytest.fixture(scope="session")
def prefixed_api(server: Server) -> Iterator[tuple[str, str]]:
    """(its address, its PUBLIC_URL) of an api process known by another host name, below /api."""
    port = free_port()
    public = f"http://localhost:{port}/api"
    with running_api(server.redis_url, port=port, PUBLIC_URL=public) as url:
        yield url, public

"""A load generator with keep-alive connections, in its own process to leave the api alone.

Usage: python -m tools.apibench.load PORT CONNECTIONS (--seconds S | --requests N)
Reads a JSON list of raw requests from standard input, sends them in turn, and writes the figures as
JSON. It uses asyncio directly: a client library would need more time per request than the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered, until all are sent."""

    def __init__(self, requests: Iterator[bytes], deadline: float) -> None:
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._deadline = deadline
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up in the middle"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        self.seconds.append(time.perf_counter() - self._sent)
        self.statuses[head[9:12].decode()] += 1
        self._received = b""
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        request = next(self._requests, None) if self._sent < self._deadline else None
        if request is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(_LENGTH) + len(_LENGTH)
    return int(lower[start:].split(b"\r\n", 1)[0])


async def run(
    port: int, connections: int, requests: Iterator[bytes], seconds: float
) -> dict[str, Any]:
    """Figures of `connections` clients that run for `seconds`, or until all requests are sent."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    made = []
    for _ in range(connections):
        client = Connection(requests, started + seconds)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        made.append(client)
    await asyncio.gather(*(client.done for client in made))
    took = time.perf_counter() - started
    latencies = sorted(second for client in made for second in client.seconds)
    statuses: Counter[str] = Counter()
    for client in made:
        statuses += client.statuses
    return {
        "requests": len(latencies),
        "per_second": len(latencies) / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
        "statuses": statuses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("connections", type=int)
    bound = parser.add_mutually_exclusive_group(required=True)
    bound.add_argument("--seconds", type=float, default=float("inf"))
    bound.add_argument("--requests", type=int)
    arguments = parser.parse_args()
    requests = islice(cycle([text.encode() for text in json.load(sys.stdin)]), arguments.requests)
    figures = run(arguments.port, arguments.connections, requests, arguments.seconds)
    json.dump(asyncio.run(figures), sys.stdout)


if __name__ == "__main__":
    main()

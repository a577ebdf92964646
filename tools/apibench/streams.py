"""Clients of event streams, in their own process: `python -m tools.apibench.streams PORT`.

Reads a JSON list of raw requests from standard input, opens a connection for each, prints `open`
once all are answered, and when all streams have ended writes the number and the delay of the events
as JSON. The id of an event is the time at which Redis wrote it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

_LIVE = (b"started", b"step", b"completed")
"""The first event is older than the stream, and events of queue positions have no id."""


class Stream(asyncio.Protocol):
    """One open stream."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.delays_ms: list[float] = []
        self.moves = 0
        self._request = request
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ms = time.time() * 1000
        if not self.opened.done():
            assert data.startswith(b"HTTP/1.1 200"), data
            self.opened.set_result(None)
        *events, self._received = (self._received + data).split(b"\n\n")
        for event in events:
            fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
            if b"id" not in fields:
                self.moves += b"event" in fields
            elif fields[b"event"] in _LIVE:
                self.delays_ms.append(now_ms - int(fields[b"id"].split(b"-")[0]))

    def connection_lost(self, _error: Exception | None) -> None:
        self.done.set_result(None)


async def run(port: int, requests: list[str]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    streams = []
    for request in requests:
        stream = Stream(request.encode())
        await loop.create_connection(lambda stream=stream: stream, "127.0.0.1", port)  # type: ignore[misc]
        streams.append(stream)
    await asyncio.gather(*(stream.opened for stream in streams))
    print("open", flush=True)
    await asyncio.gather(*(stream.done for stream in streams))
    delays = sorted(delay for stream in streams for delay in stream.delays_ms)
    return {
        "events": len(delays),
        "moves": sum(stream.moves for stream in streams),
        "p50_ms": delays[len(delays) // 2],
        "p99_ms": delays[len(delays) * 99 // 100],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    json.dump(asyncio.run(run(port, json.loads(sys.stdin.readline()))), sys.stdout)


if __name__ == "__main__":
    main()

"""A receiver of webhooks: a local web server that records the posted messages."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from app.core.egress.hosts import authority


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """statuses: of the next answers, 204 once there are none left; location: of redirects."""

    def __init__(self, origin: str) -> None:
        self.url = f"{origin}/hook"
        self.statuses: list[int] = []
        self.location = ""
        self._posted: queue.SimpleQueue[Posted] = queue.SimpleQueue()

    def keep(self, posted: Posted) -> int:
        self._posted.put(posted)
        return self.statuses.pop(0) if self.statuses else 204

    def next(self, timeout_s: float = 60) -> Posted:
        """What is posted next, or has been already; queue.Empty when nothing is."""
        return self._posted.get(timeout=timeout_s)

    @property
    def idle(self) -> bool:
        """Whether everything posted so far has been taken by next()."""
        return self._posted.empty()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


@contextmanager
def receiver(port: int = 0, address: str = "127.0.0.1") -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(running.keep(Posted(self.path, headers, body)))
            if running.location:
                self.send_header("Location", running.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = _Server((address, port), Handler)
    running = Receiver(f"http://{authority(address, server.server_address[1])}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

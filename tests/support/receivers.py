"""A receiver of webhooks: a web server on 127.0.0.1 that keeps what is posted to it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """statuses: of the next answers, 204 once there are none left; location: of redirects."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
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


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
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

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    running = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

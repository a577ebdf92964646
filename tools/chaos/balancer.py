"""A load balancer for the api processes. It polls /health/ready and forwards to a ready process.

Knows no requests.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
from contextlib import suppress

_ASKED_EVERY_S = 0.1


class Balancer:
    def __init__(self, ports: list[int]) -> None:
        self._turns = itertools.cycle(ports)
        self._ready = {port: False for port in ports}
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        for port in ports:
            threading.Thread(target=self._watch, args=(port,), daemon=True).start()

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _watch(self, port: int) -> None:
        while not self._over.wait(_ASKED_EVERY_S):
            self._ready[port] = is_ready(port)

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        port = next((one for one in self._round() if self._ready[one]), None)
        with near, suppress(OSError):
            if port is None:
                return
            with socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=_pass, args=(far, near), daemon=True)
                back.start()
                _pass(near, far)
                back.join()

    def _round(self) -> list[int]:
        return [next(self._turns) for _ in self._ready]


def _pass(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):  # either side may disconnect at any time
        while data := one.recv(1 << 16):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def is_ready(port: int) -> bool:
    """Whether the api on this port of the machine is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""The network of a stack: one machine, or hosts that can be cut off from Redis.

A cut works like a pulled cable: no connection is closed, and in-flight data arrives after the
repair.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from tests.support.servers import free_port


@dataclass(frozen=True, slots=True)
class Place:
    """redis_url: the REDIS_URL of a process there. prefix: of its command line. address: where
    it listens, for clients."""

    redis_url: str
    prefix: tuple[str, ...] = ()
    address: str = "127.0.0.1"


class Network:
    """One machine, and a Redis on a Unix socket. Workers are spread over `hosts` in turn.

    outside: the address at which they reach servers of this machine."""

    redis_options: tuple[str, ...] = ()
    outside = "127.0.0.1"

    def __init__(self, redis_url: str) -> None:
        self.api = Place(redis_url)
        self.hosts = [self.api]

    def cut(self, host: int) -> None:
        """From now on nothing passes between this host and Redis."""
        raise NotImplementedError("there is only one machine")

    def mend(self, host: int) -> None:
        raise NotImplementedError("there is only one machine")

    def close(self) -> None:
        """Nothing to do."""


class ProxiedHosts(Network):
    """Hosts that are none: their processes run here, each with a wire of its own to Redis."""

    def __init__(self, redis_url: str, hosts: int) -> None:
        super().__init__(redis_url)
        port = free_port()
        self.redis_options = ("--port", str(port), "--bind", "127.0.0.1")
        self._wires = [Wire(port) for _ in range(hosts)]
        self.hosts = [Place(f"redis://127.0.0.1:{wire.port}") for wire in self._wires]

    def cut(self, host: int) -> None:
        self._wires[host].open.clear()

    def mend(self, host: int) -> None:
        self._wires[host].open.set()

    def close(self) -> None:
        for wire in self._wires:
            wire.close()


class Wire:
    """A TCP proxy to a port of this machine that passes bytes only while `open` is set."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.open = threading.Event()
        self.open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.open.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self.open.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._sockets.append(far)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):  # either side may disconnect at any time
            while data := one.recv(1 << 16):
                self.open.wait()
                other.sendall(data)
        self.open.wait()
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)

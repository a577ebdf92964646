"""Raw HTTP, byte by byte if needed, for requests that no client library would send."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PACE_S = 0.02


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """The sentence; an answer without one fails."""
        return json.loads(self.body)["error"]


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        yield connection


def trickle(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    """Send piece by piece until the other side answers or hangs up."""
    for piece in pieces:
        try:
            connection.sendall(piece)
        except ConnectionError:
            return
        if select.select([connection], [], [], _PACE_S)[0]:
            return


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:  # it hung up on bytes that it did not want to read
        return received
    return received


def answers(received: bytes) -> list[Answer]:
    """All the answers that stand in a row."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"])
        found.append(Answer(int(status.split()[1]), headers, rest[:length]))
        received = rest[length:]
    return found

"""The picture host of a trial: normal pictures, a slow one, and one that never ends."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from PIL import Image

from tests.support.pictures import Respond, picture_host
from tools.chaos.orders import SIZES, Pictures

TRICKLE = "/trickle"
STUCK = "/never"
_LATENCY_S = 0.15


@dataclass(frozen=True, slots=True)
class Host:
    """pictures: the URL of a picture of each size."""

    origin: str
    pictures: Pictures


@contextmanager
def running_host(address: str) -> Iterator[Host]:
    over = threading.Event()

    def never(_handler: BaseHTTPRequestHandler) -> None:
        over.wait()

    with picture_host(address) as host:
        pictures = {}
        for width, height in SIZES:
            picture = Image.new("RGB", (width, height), "grey")
            pictures[width, height] = host.answer(f"/{width}x{height}.png", _delayed(picture))
        host.answer(TRICKLE, _trickle)
        host.answer(STUCK, never)
        try:
            yield Host(host.origin, pictures)
        finally:
            over.set()


def _delayed(picture: Image.Image) -> Respond:
    """Send the picture after a delay, so that its download can be interrupted."""
    file = io.BytesIO()
    picture.save(file, "PNG")

    def respond(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(_LATENCY_S)
        handler.send_response(200)
        handler.send_header("Content-Length", str(file.tell()))
        handler.end_headers()
        handler.wfile.write(file.getvalue())

    return respond


def _trickle(handler: BaseHTTPRequestHandler) -> None:
    """Send a picture byte by byte without end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"\x89")
        time.sleep(0.2)

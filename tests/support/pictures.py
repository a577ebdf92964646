"""Test pictures, and a web server that hands them out (and misbehaves on request)."""

from __future__ import annotations

import base64
import io
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data as photographs

from app.core.egress.hosts import authority


def astronaut(size: tuple[int, int] = (512, 512)) -> Image.Image:
    """A real photograph (NASA, public domain), 512x512 unless resized."""
    return _astronaut(size).copy()


@cache
def _astronaut(size: tuple[int, int]) -> Image.Image:
    """Decoded once: hundreds of tests ask for it."""
    pixels = photographs.astronaut()  # type: ignore[no-untyped-call]  # skimage leaves it untyped
    photograph = Image.fromarray(pixels)
    return photograph if size == photograph.size else photograph.resize(size)


@cache
def astronaut_base64(size: tuple[int, int] = (512, 512)) -> str:
    """The photograph as base64 of a PNG."""
    return base64_of(_astronaut(size))


def encoded(picture: Image.Image, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format)
    return buffer.getvalue()


def base64_of(picture: Image.Image, image_format: str = "PNG") -> str:
    return base64.b64encode(encoded(picture, image_format)).decode()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


Respond = Callable[[BaseHTTPRequestHandler], None]

CERTIFICATE = Path(__file__).with_name("pictures.test.pem")
"""Of the name pictures.test, with its key."""


class PictureHost:
    """`http://ADDRESS:PORT`; paths are added as bytes or as a function that answers.

    requests, hosts: path and Host header of each request. server_names: what each handshake asked
    for (SNI), None for an address.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_address[1]
        self.origin = f"http://{authority(str(server.server_address[0]), self.port)}"
        self.paths: dict[str, Respond] = {}
        self.requests: list[str] = []
        self.hosts: list[str | None] = []
        self.server_names: list[str | None] = []

    def serve(self, path: str, body: bytes, content_type: str = "image/png") -> str:
        def respond(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", content_type)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return self.answer(path, respond)

    def answer(self, path: str, respond: Respond) -> str:
        self.paths[path] = respond
        return self.origin + path


def redirect(location: str | None, status: int = 302) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if location is not None:
            handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return respond


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or trusts no such certificate, is no news."""
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


@contextmanager
def picture_host(
    address: str = "127.0.0.1", port: int = 0, *, tls: bool = False
) -> Iterator[PictureHost]:
    """tls: as pictures.test, to clients that trust CERTIFICATE."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.requests.append(self.path)
            host.hosts.append(self.headers["Host"])
            respond = host.paths.get(self.path)
            if respond is None:
                self.send_error(404)
            else:
                respond(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = _Server((address, port), Handler)
    host = PictureHost(server)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        context.sni_callback = lambda _, name, __: host.server_names.append(name)
        # The handshake belongs to the thread of its connection, not to the one that accepts.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

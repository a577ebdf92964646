"""The fetcher against a web server that does what hostile ones do."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler

import pytest

from app.core.addresses import AllowList
from app.core.errors import ImageRejected
from app.core.fetch import fetch_image
from tests.support.pictures import PictureHost

LOCAL = AllowList.parse(("127.0.0.1",))
NOBODY = AllowList.parse(())


def fetch(
    url: str, allow: AllowList = LOCAL, max_bytes: int = 10_000, timeout_s: float = 5
) -> bytes:
    return fetch_image(url, allow, max_bytes, timeout_s)


def redirect_to(location: str, status: int = 302) -> object:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return respond


def test_a_body_arrives_whole(host: PictureHost) -> None:
    assert fetch(host.serve("/a.png", b"x" * 9999)) == b"x" * 9999


def test_the_host_header_keeps_the_name(host: PictureHost) -> None:
    seen: list[str] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Host"])
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    port = host.origin.rpartition(":")[2]
    host.answer("/host.png", respond)
    assert fetch(f"http://localhost:{port}/host.png", AllowList.parse(("localhost",))) == b"ok"
    assert seen == [f"localhost:{port}"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(host: PictureHost, status: int) -> None:
    host.serve("/end.png", b"end")
    start = host.answer(f"/start{status}", redirect_to("/end.png", status))
    assert fetch(start) == b"end"


def test_redirects_are_bounded(host: PictureHost) -> None:
    loop = host.answer("/loop", redirect_to("/loop"))
    with pytest.raises(ImageRejected, match="redirects more than 3 times"):
        fetch(loop)


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x.png",
        "http://[::ffff:10.0.0.1]/x.png",
        "http://2130706433/x.png",
        "http://0x7f.1/x.png",
        "http://localhost/x.png",
    ],
)
def test_private_targets_are_refused_directly_and_by_redirect(
    host: PictureHost, target: str
) -> None:
    start = host.answer("/to-private", redirect_to(target))
    for url, allow in ((target, NOBODY), (start, LOCAL)):
        with pytest.raises(ImageRejected, match="its (host|port) is not allowed|not resolve"):
            fetch(url, allow)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x.png",
        "gopher://127.0.0.1/",
        "http://user:secret@127.0.0.1/x.png",
        "http://",
        "http://[",
        "http://127.0.0.1:99999/x.png",
        "http://127.0.0.1:0/x.png",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ImageRejected) as refused:
        fetch(url)
    assert "secret" not in refused.value.text


def test_a_port_that_is_not_a_web_port_is_refused() -> None:
    with pytest.raises(ImageRejected, match="port is not allowed"):
        fetch("http://1.1.1.1:6379/", NOBODY)


def test_an_http_error_names_its_status(host: PictureHost) -> None:
    with pytest.raises(ImageRejected, match="404"):
        fetch(f"{host.origin}/nothing-here.png")


def test_a_body_over_the_bound_is_refused(host: PictureHost) -> None:
    with pytest.raises(ImageRejected, match="more than 10000 bytes"):
        fetch(host.serve("/big.png", b"x" * 10_001))


def test_an_endless_body_is_cut_off(host: PictureHost) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 4096)
        except OSError:
            return

    with pytest.raises(ImageRejected, match="more than 10000 bytes"):
        fetch(host.answer("/endless.png", respond))


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_dribbling_server_meets_the_deadline(host: PictureHost, where: str) -> None:
    stop = threading.Event()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        try:
            while not stop.wait(0.05):
                handler.wfile.write(b"x")
        except OSError:
            return

    url = host.answer(f"/dribble-{where}", respond)
    try:
        with pytest.raises(ImageRejected, match="did not deliver within 0.5 s"):
            fetch(url, timeout_s=0.5)
    finally:
        stop.set()


def test_a_server_that_hangs_up_is_unreachable(host: PictureHost) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        handler.wfile.flush()
        handler.connection.close()

    with pytest.raises(ImageRejected, match="could not be reached"):
        fetch(host.answer("/short.png", respond))


def test_nobody_listening_is_unreachable() -> None:
    with pytest.raises(ImageRejected, match="could not be reached"):
        fetch("http://127.0.0.1:9/x.png")

"""The fetcher against web servers that do what hostile ones do."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpcore
import pytest

from app.core.egress.addresses import AllowList
from app.core.egress.fetch import fetch_image
from app.core.errors import ImageRejected
from tests.support.pictures import (
    CERTIFICATE,
    PictureHost,
    Respond,
    astronaut,
    encoded,
    picture_host,
    redirect,
)

LOCAL = AllowList.parse(("127.0.0.1", "pictures.test", "other.test"))


def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def fetch(url: str, max_bytes: int = 10_000, timeout_s: float = 5) -> bytes:
    return fetch_image(url, LOCAL, max_bytes, timeout_s, loopback)


def raw(*pieces: bytes) -> Respond:
    """Exactly these bytes as an answer, then the end of the connection."""
    return endless(iter(pieces))


def endless(pieces: Iterable[bytes]) -> Respond:
    """Bytes as long as the other side takes them."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            for piece in pieces:
                handler.wfile.write(piece)

    return respond


def test_a_body_arrives_whole(host: PictureHost) -> None:
    assert fetch(host.serve("/a.png", b"x" * 9999)) == b"x" * 9999


@pytest.mark.parametrize("name", ["pictures.test", "Pictures.TEST", "pictures.test."])
def test_the_host_header_keeps_the_name(name: str) -> None:
    with picture_host() as host:
        host.serve("/a.png", b"picture")
        assert fetch(f"http://{name}:{host.port}/a.png") == b"picture"
        assert host.hosts == [f"pictures.test:{host.port}"]


def test_a_request_asks_for_a_picture_as_it_is(host: PictureHost) -> None:
    """A body that comes compressed is refused, so none is asked for."""
    seen: list[dict[str, str]] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(handler)

    assert fetch(host.answer("/asked.png", respond)) == b"ok"
    assert seen == [
        {
            "host": f"127.0.0.1:{host.port}",
            "accept": "image/*",
            "accept-encoding": "identity",
            "user-agent": "flux-controlnet-server",
        }
    ]


@pytest.mark.parametrize("port", ["", ":", ":80"])
def test_the_host_header_has_no_port_of_its_scheme(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, asked = httpcore.SyncBackend.connect_tcp, []

    def from_80(
        self: httpcore.SyncBackend, address: str, port: int, *rest: Any
    ) -> httpcore.NetworkStream:
        asked.append(port)
        return connect(self, address, host.port, *rest)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", from_80)
    with picture_host() as host:
        host.serve("/a.png", b"picture")
        assert fetch(f"http://pictures.test{port}/a.png") == b"picture"
        assert (host.hosts, asked) == (["pictures.test"], [80])


@pytest.mark.parametrize("written", ["[::1]", "[0:0:0:0:0:0:0:1]"])
def test_an_ipv6_address_has_brackets_in_the_host_header(written: str) -> None:
    with picture_host("::1") as host:
        host.serve("/a.png", b"picture")
        host.answer("/start", redirect("/a.png"))
        allow = AllowList.parse((f"{written}:{host.port}",))
        url = f"http://{written}:{host.port}/start"
        assert fetch_image(url, allow, 10_000, 5) == b"picture"
        assert host.hosts == [f"[::1]:{host.port}"] * 2


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(host: PictureHost, status: int) -> None:
    host.serve("/end.png", b"end")
    start = host.answer(f"/start{status}", redirect("/end.png", status))
    assert fetch(start) == b"end"


@pytest.mark.parametrize(
    ("charset", "path"),
    [("utf-8", "/b%C3%BC.png?%C3%9F"), ("latin-1", "/b%FC.png?%DF"), ("cp437", "/b%81.png?%E1")],
)
def test_a_redirect_keeps_the_bytes_of_its_name(host: PictureHost, charset: str, path: str) -> None:
    """As browsers do: the server asks for what it has, in whatever letters it names it."""
    host.serve(path, b"end")
    head = "HTTP/1.1 302 Found\r\nlocation: /bü.png?ß\r\ncontent-length: 0\r\n\r\n"
    assert fetch(host.answer("/to-letters", raw(head.encode(charset)))) == b"end"


def test_a_redirect_to_a_name_in_latin_1_leads_nowhere(host: PictureHost) -> None:
    head = b"HTTP/1.1 302 Found\r\nlocation: http://b\xfccher.example/\r\ncontent-length: 0\r\n\r\n"
    with pytest.raises(ImageRejected, match="its host name is malformed"):
        fetch(host.answer("/to-name", raw(head)))


def test_the_first_of_two_locations_counts(host: PictureHost) -> None:
    host.serve("/end.png", b"end")
    head = (
        b"HTTP/1.1 302 Found\r\nLOCATION: /end.png\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
    )
    assert fetch(host.answer("/to-two", raw(head))) == b"end"


def chain(host: PictureHost, hops: int) -> str:
    """A URL that redirects so many times, then answers."""
    host.serve("/hop0", b"end")
    for left in range(1, hops + 1):
        host.answer(f"/hop{left}", redirect(f"/hop{left - 1}"))
    return f"{host.origin}/hop{hops}"


def test_five_redirects_are_followed(host: PictureHost) -> None:
    assert fetch(chain(host, 5)) == b"end"


@pytest.mark.parametrize("path", ["/hop6", "/loop"])
def test_more_redirects_are_not(host: PictureHost, path: str) -> None:
    chain(host, 6)
    host.answer("/loop", redirect("/loop"))
    with pytest.raises(ImageRejected, match="redirects more than 5 times"):
        fetch(host.origin + path)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (None, "redirects to nowhere"),
        ("http://[", "malformed"),
        ("file:///etc/passwd", "only http and https"),
        ("ftp://127.0.0.1/", "only http and https"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "only http and https"),
        ("data:image/png;base64,AAAA", "only http and https"),
        ("http://user:secret@127.0.0.1/", "credentials"),
        ("/" + "a" * 9000, "longer than"),
    ],
    ids=["nowhere", "malformed", "file", "ftp", "gopher", "data", "credentials", "too long"],
)
def test_where_a_redirect_may_not_lead(
    host: PictureHost, location: str | None, reason: str
) -> None:
    with pytest.raises(ImageRejected, match=reason) as refused:
        fetch(host.answer("/away", redirect(location)))
    assert "secret" not in refused.value.text


# ---- TLS


@pytest.fixture
def tls_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureHost]:
    """https://pictures.test, trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with picture_host(tls=True) as running:
        running.serve("/a.png", b"picture")
        yield running


def test_tls_is_about_the_name_and_not_the_address(tls_host: PictureHost) -> None:
    assert fetch(f"https://pictures.test:{tls_host.port}/a.png") == b"picture"
    for other in ("other.test", "127.0.0.1"):
        with pytest.raises(ImageRejected, match="could not be reached"):
            fetch(f"https://{other}:{tls_host.port}/a.png")


@pytest.mark.parametrize("written", ["pictures.test", "PICTURES.test", "pictures.test."])
def test_tls_asks_for_the_name_in_one_spelling(tls_host: PictureHost, written: str) -> None:
    assert fetch(f"https://{written}:{tls_host.port}/a.png") == b"picture"
    assert tls_host.server_names == ["pictures.test"]


def test_tls_asks_for_no_name_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is for another name, so nothing is fetched: what counts is what was asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with picture_host("::1", tls=True) as running:
        allow = AllowList.parse(("[::1]",))
        with pytest.raises(ImageRejected, match="could not be reached"):
            fetch_image(f"https://[::1]:{running.port}/a.png", allow, 10_000, 5)
        assert running.server_names == [None]


def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ImageRejected, match="could not be reached"):
        fetch(f"https://pictures.test:{tls_host.port}/a.png")


def test_a_redirect_may_enter_tls_and_not_leave_it(
    tls_host: PictureHost, host: PictureHost
) -> None:
    enter = host.answer("/enter", redirect(f"https://pictures.test:{tls_host.port}/a.png"))
    assert fetch(enter) == b"picture"
    tls_host.answer("/leave", redirect(enter))
    with pytest.raises(ImageRejected, match="from https to http"):
        fetch(f"https://pictures.test:{tls_host.port}/leave")


def test_a_handshake_that_never_comes_meets_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(ImageRejected, match="did not deliver within 0.2 s"):
            fetch(url, timeout_s=0.2)


# ---- bodies


def test_an_http_error_names_its_status(host: PictureHost) -> None:
    with pytest.raises(ImageRejected, match="404"):
        fetch(f"{host.origin}/nothing-here.png")


def test_a_body_of_the_bound_is_taken(host: PictureHost) -> None:
    assert len(fetch(host.serve("/just.png", b"x" * 10_000))) == 10_000


def test_a_body_over_the_bound_is_refused(host: PictureHost) -> None:
    with pytest.raises(ImageRejected, match="more than 10000 bytes"):
        fetch(host.serve("/big.png", b"x" * 10_001))


def answered(host: PictureHost, head: bytes, body: bytes) -> str:
    """The URL of an answer with these header lines and this body."""
    start = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n"
    return host.answer("/answered", raw(start % (head, len(body)), body))


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate, gzip", "secret"])
def test_a_compressed_body_is_named_and_stays_packed(host: PictureHost, coding: str) -> None:
    """Ten megabytes in ten kilobytes are never unpacked."""
    head = f"Content-Encoding: {coding}\r\n".encode()
    url = answered(host, head, gzip.compress(bytes(10_000_000)))
    with pytest.raises(ImageRejected, match="answered with a compressed body") as refused:
        fetch(url, max_bytes=20_000)
    assert "secret" not in refused.value.text


@pytest.mark.parametrize("coding", [b"identity", b"gzip", b""])
def test_a_picture_is_one_whatever_its_head_says(host: PictureHost, coding: bytes) -> None:
    picture = encoded(astronaut((8, 8)))
    head = b"Content-Encoding: %s\r\nContent-Type: text/html\r\n" % coding
    assert fetch(answered(host, head, picture)) == picture


def test_an_empty_body_is_named(host: PictureHost) -> None:
    with pytest.raises(ImageRejected, match="^image: the URL answered with an empty body$"):
        fetch(answered(host, b"Content-Type: image/png\r\n", b""))


PAGES = {
    "doctype": (b"", b"<!DOCTYPE html><p>secret"),
    "lower case, blanks, byte order mark": (b"", b"\xef\xbb\xbf\n <!doctype html>secret"),
    "comment first": (b"", b"<!-- secret -->\n<html lang=en>"),
    "XHTML": (b"", b'<?xml version="1.0"?>\n<html xmlns="x">'),
    "script": (b"Content-Type: image/png\r\n", b"<script>location = 'secret'</script>"),
    "by its type alone": (b"Content-Type: text/html; charset=utf-8\r\n", b"secret: not found"),
    "with a drawing inside": (b"Content-Type: text/html\r\n", b"<main><svg></svg></main>"),
}


@pytest.mark.parametrize(("head", "body"), PAGES.values(), ids=PAGES)
def test_a_web_page_is_named(host: PictureHost, head: bytes, body: bytes) -> None:
    with pytest.raises(ImageRejected, match="answered with a web page") as refused:
        fetch(answered(host, head, body))
    assert "secret" not in refused.value.text


@pytest.mark.parametrize("body", [b"<svg xmlns='x'/>", b"%PDF-1.4\n", b"\x1f\x8b\x08\0", b"GIF"])
@pytest.mark.parametrize("head", [b"", b"Content-Type: text/html\r\n"])
def test_a_response_that_is_no_html_is_left_to_the_decoder(
    host: PictureHost, head: bytes, body: bytes
) -> None:
    if body == b"GIF":
        head = b""
    assert fetch(answered(host, head, body)) == body


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "body": (OK + b"\r\n", b"x" * 4096, "more than 10000 bytes"),
    "chunks": (CHUNKED, b"4\r\nabcd\r\n", "more than 10000 bytes"),
    "chunk header": (CHUNKED, b"0" * 4096, "could not be reached"),
    "header fields": (OK, b"X-More: secret\r\n", "could not be reached"),
    "one header field": (OK + b"X: ", b"secret" * 1000, "could not be reached"),
    "status line": (b"HTTP/1.1 200 ", b"O" * 4096, "could not be reached"),
}


@pytest.mark.parametrize(("head", "rest", "reason"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_cut_off(
    host: PictureHost, head: bytes, rest: bytes, reason: str
) -> None:
    respond = endless(itertools.chain([head], itertools.repeat(rest)))
    with pytest.raises(ImageRejected, match=reason) as refused:
        fetch(host.answer("/endless.png", respond))
    assert "secret" not in refused.value.text


SLOW = {
    "status line": (b"H", b"T"),
    "header": (OK + b"X: ", b"x"),
    "body": (OK + b"\r\n", b"x"),
    "chunk": (CHUNKED, b"1\r\nx\r\n"),
    "promised body": (OK + b"Content-Length: 9000\r\n\r\n", b"x"),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize(("head", "rest"), SLOW.values(), ids=SLOW)
def test_a_dribbling_server_meets_the_deadline(host: PictureHost, head: bytes, rest: bytes) -> None:
    """Each piece comes in time, the whole does not."""
    stop = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield head
        while not stop.wait(0.05):
            yield rest

    url = host.answer("/dribble", endless(pieces()))
    try:
        with pytest.raises(ImageRejected, match="did not deliver within 0.3 s"):
            fetch(url, timeout_s=0.3)
    finally:
        stop.set()


MALFORMED = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: secret\r\n\r\n",
    "no HTTP": b"secret\r\n\r\n",
    "HTTP/0.9": b"<html>secret</html>",
    "negative length": OK + b"Content-Length: -1\r\n\r\nsecret",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 6\r\n\r\nsecret",
    "length and chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nsecret",
    "chunk without a length": CHUNKED + b"secret\r\n",
    "chunk of a negative length": CHUNKED + b"-6\r\nsecret\r\n",
    "NUL in a header": OK + b"X: \0secret\r\n\r\n",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_an_answer_that_is_none_is_unreachable(host: PictureHost, answer: bytes) -> None:
    with pytest.raises(ImageRejected, match="^image: the URL could not be reached$"):
        fetch(host.answer("/malformed.png", raw(answer)))


CUT = {
    "length": (OK + b"Content-Length: 100\r\n\r\nsecret", "after 6 of 100 bytes$"),
    "nothing of a length": (OK + b"Content-Length: 100\r\n\r\n", "after 0 of 100 bytes$"),
    "between chunks": (CHUNKED + b"6\r\nsecret\r\n", "after 6 bytes$"),
    "within a chunk": (CHUNKED + b"60\r\nsecret", "after 6 bytes$"),
}


@pytest.mark.parametrize(("answer", "reason"), CUT.values(), ids=CUT)
def test_a_body_that_is_cut_ended_early(host: PictureHost, answer: bytes, reason: str) -> None:
    with pytest.raises(ImageRejected, match="^image: the URL's answer ended early, " + reason):
        fetch(host.answer("/cut.png", raw(answer)))


@pytest.mark.parametrize("status", [204, 206, 304, 401, 500, 999])
def test_other_statuses_are_named(host: PictureHost, status: int) -> None:
    answer = b"HTTP/1.1 %d secret\r\nContent-Length: 0\r\n\r\n" % status
    with pytest.raises(ImageRejected, match=f"HTTP status {status}$"):
        fetch(host.answer(f"/status{status}", raw(answer)))


def test_a_port_without_a_listener_is_unreachable() -> None:
    with pytest.raises(ImageRejected, match="could not be reached"):
        fetch("http://127.0.0.1:9/x.png")
